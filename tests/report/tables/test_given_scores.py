"""The correlation table with question scores of lmms-eval and of a published table."""

from __future__ import annotations

import csv
import json

import pytest
import synthetic_study as made

from vlm4vla.config.capability import QuestionScore
from vlm4vla.evaluation.capability.published_scores import mean_score, score_json
from vlm4vla.stages.table import run

pytestmark = pytest.mark.usefixtures("undrawn")


def write(root, **given):
    """Scores that grow with the place in TEN, of two sets; `given`: further fields of each score."""
    paths = []
    for place, model in enumerate(made.TEN):
        sets = {
            name: QuestionScore(score=0.3 + 0.05 * place + shift, **given)
            for name, shift in (("a", 0), ("b", 0.1))
        }
        content = {"sets": {name: score_json(each) for name, each in sets.items()}}
        content["provenance"] = made.record("capability-scores")
        content["overall"] = score_json(mean_score(sets.values()))
        path = root / "capability" / model / "none.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        paths.append(path)
    return paths


def table(study, output, capability):
    _root, episodes, _capability, _curves = study
    inputs = {"episodes": episodes, "capability": capability, "published": made.PUBLISHED}
    run(made.settings("correlation"), output=output, **inputs)
    with (output / "tables" / "correlation.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["metric"] == "question_score"]
    checks = json.loads((output / "analysis" / "correlation.json").read_text())["sensitivity"]
    return rows, checks, (output / "tables" / "correlation.md").read_text()


def test_a_standard_error_widens_the_rollouts_interval(study, tmp_path):
    widths = {}
    for error in (0.001, 0.2):
        folder = tmp_path / str(error)
        rows, checks, _ = table(study, folder, write(folder, questions=500, standard_error=error))
        low, high = checks[0]["rollouts_ci"]
        widths[error] = high - low
        overall = next(row for row in rows if row["question_set"] == "overall")
        expected = 1.96 * error / 2**0.5  # of the mean of two independent sets
        assert float(overall["ci_high"]) - float(overall["value"]) == pytest.approx(expected, rel=0.01)
        assert overall["episodes"] == "1000"
    assert widths[0.2] > widths[0.001]


def test_published_scores_have_no_interval_and_the_caption_says_so(study, tmp_path):
    rows, checks, text = table(study, tmp_path, write(tmp_path))
    assert {(row["ci_low"], row["ci_high"], row["episodes"]) for row in rows} == {("", "", "")}
    assert checks[0]["rollouts_ci"][0] is not None  # the policies' initial states are resampled all the same
    assert "neither a number of questions nor a standard error" in text
    assert "Overall score over" not in text
