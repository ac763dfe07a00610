import json

import numpy as np
import pytest
import synthetic_study as made
from scipy import stats

from vlm4vla.analysis.intervals import bounded_mean, wilson
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.auxiliary_scores import OwnScore, read_fast_report, read_own_scores
from vlm4vla.report.rows.capability_scores import Score


def test_scores_by_model_and_task_from_folder_or_provenance(tmp_path):
    paths = made.write_own_scores(tmp_path)
    found = read_own_scores(paths)
    assert found == read_own_scores([path.parent for path in paths])
    robopoint = found["qwen2.5-vl-3b", "robopoint"]
    assert (robopoint.before.value, robopoint.after.value) == (0.2, 0.8)
    assert robopoint.after.questions == 400
    assert {task for (_, task), own in found.items() if not own.clearly_rose} == {made.FLAT}


@pytest.mark.parametrize(("low", "rose"), [(0.31, True), (0.3, False), (0.2, False)])
def test_rise_is_an_interval_above_the_other(low, rose):
    own = OwnScore(Score(0.25, 0.2, 0.3, 9), Score(0.4, low, 0.5, 9))
    assert own.clearly_rose is rose


@pytest.mark.parametrize(("chance", "rose"), [(0.31, True), (0.36, False)])
def test_rise_is_above_guessing(chance, rose):
    own = OwnScore(Score(0.0, 0.0, 0.01, 400), Score(0.4, 0.35, 0.45, 400), chance)
    assert own.clearly_rose is rose


@pytest.mark.parametrize("content", ["{", "{}", '{"before": 1, "after": 2}', "[]"])
def test_a_file_without_scores_is_refused_in_one_line(tmp_path, content):
    path = made.write_own_scores(tmp_path)[0]
    path.with_name("score.json").write_text(content)
    with pytest.raises(UserError, match=r"score\.json: not") as fault:
        read_own_scores([path])
    assert "\n" not in str(fault.value)


def test_missing_files(tmp_path):
    path = made.write_own_scores(tmp_path)[0]
    path.with_name("score.json").unlink()
    with pytest.raises(UserError, match=r"score\.json: no such file"):
        read_own_scores([path])
    with pytest.raises(UserError, match=r"report\.json: no such file"):
        read_fast_report(tmp_path / "provenance.json")


def test_report_on_fast_tokens(tmp_path):
    path = made.write_fast_report(tmp_path)
    report = read_fast_report(path)
    assert report == read_fast_report(path.parent)
    assert (report["vocabulary"], report["error_bound"]) == (256, 0.1)
    del report["tokens_a_chunk"]
    path.with_name("report.json").write_text(json.dumps(report))
    with pytest.raises(UserError, match=r"report\.json: tokens_a_chunk is missing"):
        read_fast_report(path)


@pytest.mark.parametrize("grade", [0.0, 0.4, 1.0])
def test_equal_grades_do_not_make_an_interval_without_width(tmp_path, grade):
    """Twelve grades that are all alike have a normal interval of no width. Gaffke's has one."""
    entry = {"score": grade, "ci_low": grade, "ci_high": grade, "questions": 12}
    path = made.write_own_scores(tmp_path)[0]
    path.with_name("score.json").write_text(json.dumps({"before": entry, "after": entry}))
    own = read_own_scores([path])[path.parts[-3], path.parts[-2]]
    expected = bounded_mean(np.full(12, grade), (0, 1), resamples=200_000)
    assert (own.before.ci_low, own.before.ci_high) == pytest.approx(expected, abs=0.003)
    assert not own.clearly_rose
    if grade in (0.0, 1.0):  # Clopper and Pearson
        exact = stats.binomtest(int(12 * grade), 12).proportion_ci()
        assert (own.after.ci_low, own.after.ci_high) == pytest.approx((exact.low, exact.high))


def test_the_interval_of_counted_answers_stays(tmp_path):
    low, high = wilson(0, 12)
    entry = {"score": 0.0, "ci_low": low, "ci_high": high, "questions": 12}
    path = made.write_own_scores(tmp_path)[0]
    path.with_name("score.json").write_text(json.dumps({"before": entry, "after": entry}))
    own = read_own_scores([path])[path.parts[-3], path.parts[-2]]
    assert (own.after.ci_low, own.after.ci_high) == (low, high)
