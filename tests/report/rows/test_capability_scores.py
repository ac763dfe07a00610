import json

import numpy as np
import pytest
import synthetic_study as made
from scipy import stats

from vlm4vla.analysis.intervals import wilson
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.capability_scores import OVERALL, read_capability


def test_scores_by_model_and_set(tmp_path):
    found = read_capability(made.write_capability(tmp_path, ["kosmos-2"]))
    scores = found["kosmos-2", "none"]
    assert list(scores) == [*made.SETS, OVERALL]
    where = scores["where"]
    assert where.questions == 100
    assert (where.ci_low, where.ci_high) == wilson(where.value * 100, 100)


@pytest.mark.parametrize("content", ["{", "{}", json.dumps({"sets": {}, "overall": {"score": 1}})])
def test_a_file_without_a_score_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "none.json"
    path.write_text(content)
    with pytest.raises(UserError, match="not a capability score") as fault:
        read_capability([path])
    assert "\n" not in str(fault.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_capability([tmp_path / "none.json"])


def write(path, **entry):
    path.write_text(json.dumps({"sets": {}, "overall": entry}))
    return read_capability([path])[path.parent.name, path.stem][OVERALL]


def test_a_standard_error_makes_a_normal_interval(tmp_path):
    score = write(tmp_path / "none.json", score=0.99, questions=100, standard_error=0.01)
    assert (score.ci_low, score.ci_high) == (pytest.approx(0.9704), 1.0)
    assert score.variance == pytest.approx(0.0001)
    half = write(tmp_path / "none.json", score=0.5, questions=None, standard_error=0.02)
    assert half.variance == pytest.approx(0.0004)


def test_a_standard_error_of_zero_is_not_certainty(tmp_path):
    score = write(tmp_path / "none.json", score=0.0, questions=50, standard_error=0.0)
    exact = stats.binomtest(0, 50).proportion_ci()
    assert (score.ci_low, score.ci_high) == pytest.approx((exact.low, exact.high))


def test_questions_alone_make_wilsons_interval(tmp_path):
    score = write(tmp_path / "none.json", score=0.25, questions=200, standard_error=None)
    assert (score.ci_low, score.ci_high) == wilson(50, 200)
    assert score.variance == pytest.approx(0.25 * 0.75 / 200, rel=0.02)


def test_a_score_alone_is_taken_as_exact(tmp_path):
    score = write(tmp_path / "none.json", score=0.25, questions=None, standard_error=None)
    assert score.interval == (0.25, 0.25) and score.ci_low is None and score.percent == "25.0"
    assert score.variance == 0.0


def test_counted_answers_have_the_variance_of_a_binomial_share(tmp_path):
    score = write(tmp_path / "none.json", score=0.25, questions=200, correct=50)
    shares = np.random.default_rng(7).binomial(200, 0.25, size=50_000) / 200
    assert score.variance == pytest.approx(shares.var(), rel=0.05)
    assert write(tmp_path / "none.json", score=0.0, questions=200, correct=0).variance > 0


def write_counts(tmp_path, stage, **counts):
    paths = []
    for model, count in counts.items():
        paths.append(tmp_path / model / "none.json")
        paths[-1].parent.mkdir()
        entry = {"score": 0.5, "questions": count, "standard_error": None}
        content = {"sets": {"pope": entry}, "overall": entry, "provenance": {"stage": stage}}
        paths[-1].write_text(json.dumps(content))
    return paths


def test_measured_scores_over_other_numbers_of_questions_are_not_compared(tmp_path):
    paths = write_counts(tmp_path, "capability-lmms-eval", one=9000, two=8910)
    with pytest.raises(UserError, match=r"two/none.json: pope: a score over 8910 questions, but .* has 9000"):
        read_capability(paths)
    assert len(read_capability(paths[:1])) == 1


def test_published_scores_may_have_other_numbers_of_questions(tmp_path):
    assert len(read_capability(write_counts(tmp_path, "capability-scores", one=9000, two=None))) == 2
