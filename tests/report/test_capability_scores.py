import json

import pytest
import synthetic_study as made

from vlm4vla.analysis.intervals import wilson
from vlm4vla.artefacts import UserError
from vlm4vla.report.capability_scores import OVERALL, read_capability


def test_scores_by_model_and_set(tmp_path):
    found = read_capability(made.write_capability(tmp_path, ["kosmos-2"]))
    scores = found["kosmos-2", "none"]
    assert list(scores) == [*made.SETS, OVERALL]
    where = scores["where"]
    assert where.questions == 100
    assert (where.ci_low, where.ci_high) == wilson(where.value * 100, 100)


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"sets": {}, "overall": {"score": 1}})])
def test_what_is_not_a_score_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "none.json"
    path.write_text(content)
    with pytest.raises(UserError, match="not a capability score") as fault:
        read_capability([path])
    assert "\n" not in str(fault.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_capability([tmp_path / "none.json"])
