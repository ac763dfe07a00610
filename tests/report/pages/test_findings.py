"""The four findings are the weakest statements that the tables' numbers force."""

import pytest

from vlm4vla.report.pages.findings import findings
from vlm4vla.report.rows.decisions import AT_FLOOR, NOT_LEARNT


def row(difference, low, high, p, variant="freeze-vision", auxiliary="none", **changes):
    limits = {"difference_ci_low": low, "difference_ci_high": high}
    cell = {"model": "m", "variant": variant, "auxiliary": auxiliary, "benchmark": "bridge"}
    numbers = {"value": 0.3, "difference": difference, "p_value": 0.001, "p_adjusted": p, "states": 24}
    return cell | limits | numbers | {"metric": "success_rate", "shared_seeds": 1} | changes


def table(rows, **settings):
    return {"settings": {"scale": "embedded", "seeds": [0]} | settings, "records": rows}


def find(number, name, rows, **settings):
    return findings({name: table(rows, **settings)})[number]


HURTS, NONE, OPEN = (-0.3, -0.4, -0.2, 0.01), (0.0, -0.02, 0.02, 1.0), (-0.1, -0.3, 0.1, 0.4)


@pytest.mark.parametrize(
    ("numbers", "verdict", "counts"),
    [
        ([HURTS, HURTS], "This study shows it", (2, 0, 0)),
        ([HURTS, OPEN], "This study shows it in part", (1, 0, 1)),
        ([HURTS, NONE], "This study shows it in part", (1, 1, 0)),
        ([NONE, NONE], "This study shows the opposite", (0, 2, 0)),
        ([NONE, OPEN], "This study does not show it", (0, 1, 1)),
        ([OPEN, OPEN], "This cannot be told with 24 initial states", (0, 0, 2)),
        ([(-0.3, -0.5, -0.1, 0.06)], "This cannot be told with 24 initial states", (0, 0, 1)),
        ([], "This study did not test it", (0, 0, 0)),
    ],
)
def test_a_finding_of_several_tests(numbers, verdict, counts):
    found = find(2, "freeze", [row(*each) for each in numbers])
    assert found.verdict == verdict
    assert (found.count.shown, found.count.contrary, found.count.untold) == counts


def test_a_task_that_was_not_learnt_is_not_counted():
    worse, same = row(*HURTS, variant="full", auxiliary="a"), row(*NONE, variant="full", auxiliary="b")
    rows = [worse, same, row(*OPEN, variant="full", auxiliary="c", outcome=NOT_LEARNT)]
    found = find(1, "auxiliary", rows)
    assert (found.verdict, found.tested) == ("This study shows it", 2)
    assert "1 row is not tested" in found.details and "in these trained policies" in found.details


def test_an_older_file_says_itself_which_task_was_not_learnt():
    own = {"model": "m", "variant": "backbone", "benchmark": "task", "auxiliary": "a", "value": 0.5}
    scores = [
        own | {"metric": "auxiliary_score_before", "ci_low": 0.4, "ci_high": 0.6},
        own | {"metric": "auxiliary_score_after", "ci_low": 0.5, "ci_high": 0.7},
    ]
    compared = row(*NONE, variant="full", auxiliary="a")
    assert find(1, "auxiliary", [compared, *scores]).tested == 0
    assert find(1, "auxiliary", [compared]).tested == 1
    scores[1]["ci_low"] = 0.61
    assert find(1, "auxiliary", [compared, *scores]).tested == 1


def test_only_rows_at_the_floor_test_nothing():
    found = find(2, "freeze", [row(*NONE, outcome=AT_FLOOR)])
    assert found.verdict == "This study did not test it" and "random actions" in found.details


def test_lower_is_no_collapse():
    kept = row(0.08, 0.03, 0.13, 0.01, variant="scratch", value=0.6)
    fell = row(0.5, 0.4, 0.6, 0.01, variant="scratch", value=0.1)
    assert find(3, "scratch", [kept]).verdict == "This study shows the opposite"
    assert find(3, "scratch", [fell]).verdict == "This study shows it"
    for part, verdict in ((0.1, "This study shows the opposite"), (0.17, "This cannot be told")):
        assert find(3, "scratch", [fell], analysis={"collapse": part}).verdict.startswith(verdict)
    assert find(3, "scratch", [kept, fell]).verdict == "This study shows it in part"


def test_the_margin_of_the_study_counts():
    small = row(-0.01, -0.08, 0.08, 1.0)
    assert find(2, "freeze", [small]).verdict.startswith("This cannot be told")
    assert find(2, "freeze", [small], analysis={"margin": 0.1}).verdict == "This study shows the opposite"


@pytest.mark.parametrize(
    ("r", "low", "high", "count", "p", "verdict"),
    [
        (1.0, 1.0, 1.0, 3, 1.0, "This cannot be told with 3 backbones"),
        (-0.5, -0.9, 0.3, 3, 1.0, "This cannot be told with 3 backbones"),
        (0.72, 0.2, 0.9, 9, 0.09, "This cannot be told with 9 backbones"),
        (0.0, -0.3, 0.3, 60, 1.0, "This study shows it"),
        (0.97, 0.9, 0.99, 10, 0.001, "This study shows the opposite"),
    ],
)
def test_no_correlation_is_an_absence_only_with_its_interval(r, low, high, count, p, verdict):
    cell = {"model": "all backbones", "variant": "full", "benchmark": "calvin", "metric": "pearson_r"}
    numbers = {"value": r, "ci_low": low, "ci_high": high, "p_value": 0.03, "p_adjusted": p}
    found = find(0, "correlation", [cell | numbers | {"question_set": "overall", "backbones": count}])
    assert found.verdict == verdict


def test_the_limits_of_the_share_are_printed_with_its_values():
    """A study whose differences are undecided can still exclude a collapse: the limits say why."""
    rows = [
        row(*OPEN, variant="scratch", share=0.9, share_ci_low=0.61, share_ci_high=1.4),
        row(*OPEN, variant="scratch", share=0.8, share_ci_low=0.55, share_ci_high=1.1),
    ]
    found = find(3, "scratch", rows)
    assert found.verdict == "This study shows the opposite"
    assert "(limits of the intervals: 55 to 140 %); it collapses if" in found.details
    open_end = find(3, "scratch", [*rows, rows[0] | {"share_ci_high": None}])
    assert "limits" not in open_end.details and "pre-trained policy; it collapses" in open_end.details


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("a difference of groups", "after Holm, a difference of groups"),
        ("fragile", "after Holm, fragile"),
        ("cannot be told", "after Holm, not decided"),
    ],
)
def test_a_significant_correlation_that_decides_nothing_has_a_reason(outcome, words):
    r = {"model": "all backbones", "question_set": "overall", "metric": "pearson_r", "benchmark": "bridge"}
    numbers = {"value": 0.97, "ci_low": 0.88, "ci_high": 0.99, "p_adjusted": 0.008, "backbones": 10}
    found = find(0, "correlation", [r | numbers | {"outcome": outcome}])
    assert found.verdict == "This cannot be told with 10 backbones"
    assert f"p = 0.008 {words}" in found.details


def test_a_seed_on_which_a_difference_hinges_is_called_a_seed():
    hinge = {
        "kind": "seed",
        "name": "1",
        "variant": "freeze-vision",
        "benchmark": "bridge",
        "auxiliary": "none",
    }
    analysis = table([row(*OPEN)], seeds=[0, 1]) | {"hinges": [hinge]}
    found = findings({"freeze": analysis})[2]
    assert found.details.endswith("1 of the differences is seen in one training seed alone (seed 1)")
