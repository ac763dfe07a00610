"""The verdict on a correlation: one for the table, the summary and the paper's claim."""

import numpy as np
import pytest
import synthetic_study as made
from scipy import stats

from vlm4vla.analysis.correlation import correlate
from vlm4vla.report.rows.capability_scores import Score
from vlm4vla.report.rows.correlations import (
    carrying_groups,
    check,
    groups_sentence,
    printed_groups,
    rollout_interval,
)
from vlm4vla.report.rows.decisions import CONTRARY, SHOWN, UNTOLD, correlation_says
from vlm4vla.report.rows.table import GAP
from vlm4vla.report.tables.correlation import _here

X = np.array([26, 28, 30, 52, 54, 55, 57, 58, 60, 62.0])
GROUPS = np.array([10, 7, 12, 60, 55, 63, 58, 66, 54, 61.0])


def row_of(x, y, p=None):
    found = correlate(x, y)
    return {
        "benchmark": "libero-10",
        "value": found.pearson,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "p_value": found.pearson_p,
        "p_adjusted": found.pearson_p if p is None else p,
        "backbones": len(x),
    }


def checked(x, y, p=None, margin=None):
    row = row_of(x, y, p)
    found = check(row, made.TEN[: len(x)], x, y, {}, margin)
    assert (row["outcome"], row["verdict"]) == (found["outcome"], found["verdict"])
    return row, found


def test_a_difference_of_groups_is_named_with_its_groups():
    row, found = checked(X, GROUPS)
    assert row["verdict"] == "a difference of groups (2 by question score and policy score)"
    assert correlation_says(row, 0.5) == UNTOLD  # although the whole interval of r is above 0.5
    assert list(carrying_groups(found).values()) == [0] * 3 + [1] * 7
    assert printed_groups(found)[0] == "3 + 7 by question score and policy score"
    within = [side - np.repeat([side[:3].mean(), side[3:].mean()], [3, 7]) for side in (X, GROUPS)]
    r = np.corrcoef(*within)[0, 1]
    assert printed_groups(found)[1] == f"{r:.2f}"
    assert f"have 3 and 7 backbones, and within them r is {r:.2f}" in groups_sentence(found)
    assert _here(row, 0.9) == "cannot be told with 10 backbones, because r is a difference of groups"


def test_a_line_is_positive_and_contradicts_a_weak_correlation():
    x = np.arange(10.0)
    row, found = checked(x, x + np.array([0.1, -0.2] * 5))
    assert row["verdict"] == "positive" and carrying_groups(found) == {} and groups_sentence(found) == ""
    assert printed_groups(found) == [GAP, GAP, GAP]
    assert correlation_says(row, 0.5) == CONTRARY
    assert _here(row, 0.8) == "shows here too" and _here(row, None) == "does not show here: the opposite does"
    assert _here(row, -0.8) == "does not show here: the opposite does"


def test_the_corrected_p_decides_in_table_and_summary():
    x = np.arange(9.0)
    row, _ = checked(x, x + 0.8 * np.array([3, -2, 1, 4, -4, 2, -3, 0, 1.0]), p=0.09)
    assert row["p_value"] < 0.05 and row["verdict"] == "cannot be told with 9 backbones"
    assert correlation_says(row, 0.5) == UNTOLD


@pytest.mark.parametrize("count", [3, 10])
def test_few_backbones_cannot_show_a_missing_correlation(count):
    random = np.random.default_rng(count)
    said = {correlation_says(checked(*random.normal(size=(2, count)))[0], 0.5) for _ in range(10)}
    assert SHOWN not in said


def test_many_backbones_can():
    x = np.linspace(-1, 1, 60)
    row = row_of(x, x**2)
    low, high = stats.pearsonr(x, x**2).confidence_interval()
    assert max(-low, high) < 0.3 and correlation_says(row, 0.3) == SHOWN
    assert correlation_says(row | {"outcome": "weak"}, 0.3) == SHOWN


def test_rows_of_older_files_are_read_in_the_same_way():
    x = np.arange(10.0)
    row = row_of(x, x + np.array([0.1, -0.2] * 5))
    assert correlation_says(row | {"verdict": "positive"}, 0.5) == CONTRARY
    assert correlation_says(row | {"verdict": "positive, fragile: hinges on a"}, 0.5) == UNTOLD


def test_a_true_r_of_1_is_in_the_interval_without_noise():
    random, skill, held = np.random.default_rng(0), np.linspace(0.35, 0.65, 6), 0
    frames = [made.episodes(model, "full", "libero-10", 0.5, count=60) for model in made.TEN[:6]]
    for _ in range(20):
        x = random.binomial(200, skill) / 200
        solved = (random.random((6, 60)) < skill[:, None]).astype(int)
        pairs = zip(frames, solved, strict=True)
        runs = [frame.assign(solved=each, success=each == 1) for frame, each in pairs]
        low, high = rollout_interval(runs, [Score(each, None, None, 200) for each in x], "success_rate")
        assert -1 <= low < high <= 1
        held += high == 1.0
    assert held >= 17
