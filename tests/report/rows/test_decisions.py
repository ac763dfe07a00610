"""The word that the numbers of a row force, and what a claim over several rows may say."""

import pytest

from vlm4vla.report.rows.decisions import (
    AT_FLOOR,
    CONTRARY,
    EQUIVALENT,
    HIGHER,
    LOWER,
    NOT_LEARNT,
    SHOWN,
    UNDECIDED,
    UNTOLD,
    Tally,
    collapses,
    correlation_says,
    decide,
    gains,
    is_tested,
    left_out_sentence,
    loses,
    loses_little,
    outcome,
    outcome_counts,
    tally,
)


def row(difference, low, high, p=0.5, benchmark="bridge", **changes):
    metric = "average_length" if benchmark == "calvin" else "success_rate"
    limits = {"difference_ci_low": low, "difference_ci_high": high}
    whole = {"benchmark": benchmark, "metric": metric, "difference": difference, "p_adjusted": p}
    return whole | limits | {"shared_seeds": 1, "states": 24} | changes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row(0.2, 0.1, 0.3, 0.001), HIGHER),
        (row(-0.2, -0.3, -0.1, 0.049), LOWER),
        (row(-0.2, -0.3, -0.1, 0.05), UNDECIDED),  # Holm's p decides, not the interval
        (row(0.01, -0.04, 0.049), EQUIVALENT),
        (row(0.01, -0.06, 0.02), UNDECIDED),
        (row(0.01, -0.02, 0.05), UNDECIDED),  # the end is at the margin
        (row(0.0, 0.0, 0.0, None), EQUIVALENT),
        (row(0.1, -0.2, 0.24, benchmark="calvin"), EQUIVALENT),  # 0.25 of 5
        (row(0.1, -0.2, 0.26, benchmark="calvin"), UNDECIDED),
        (row(0.2, -0.1, 0.5, 0.001, shared_seeds=3), UNDECIDED),  # other seeds may differ
        (row(0.2, 0.1, 0.5, 0.001, shared_seeds=3), HIGHER),
    ],
)
def test_a_row_has_the_word_that_its_numbers_force(given, expected):
    assert decide(given, 0.05) == expected
    assert outcome(given, 0.05) == outcome(given | {"outcome": expected}, 0.05) == expected


def test_the_raw_p_decides_nothing():
    assert decide(row(0.2, 0.01, 0.4, 0.09, p_value=0.03), 0.05) == UNDECIDED


@pytest.mark.parametrize(
    ("given", "loss", "little", "gain"),
    [
        (row(-0.2, -0.3, -0.1, 0.001), SHOWN, CONTRARY, CONTRARY),
        (row(-0.1, -0.3, -0.02, 0.001), SHOWN, UNTOLD, CONTRARY),  # lower, but by how much?
        (row(-0.02, -0.03, -0.01, 0.001), SHOWN, SHOWN, CONTRARY),  # lower by less than the margin
        (row(0.2, 0.1, 0.3, 0.001), CONTRARY, SHOWN, SHOWN),
        (row(0.0, -0.03, 0.03), CONTRARY, SHOWN, CONTRARY),
        (row(0.0, -0.3, 0.3), UNTOLD, UNTOLD, UNTOLD),
        (row(-0.2, -0.4, 0.04), UNTOLD, UNTOLD, CONTRARY),
        (row(-0.2, -0.4, -0.06, 0.2), UNTOLD, UNTOLD, CONTRARY),
    ],
)
def test_an_absence_needs_the_interval_inside_the_margin(given, loss, little, gain):
    assert (loses(given, 0.05), loses_little(given, 0.05), gains(given, 0.05)) == (loss, little, gain)


@pytest.mark.parametrize(
    ("value", "difference", "low", "high", "expected"),
    [
        (0.10, 0.50, 0.40, 0.60, SHOWN),
        (0.60, 0.08, 0.03, 0.13, CONTRARY),  # 82 to 95 % is kept
        (0.20, 0.30, 0.10, 0.50, UNTOLD),  # 29 to 67 %
    ],
)
def test_a_collapse_needs_the_whole_interval_of_the_share(value, difference, low, high, expected):
    given = row(difference, low, high, 0.001, value=value)
    assert collapses(given, 0.5) == expected
    if expected == SHOWN:  # the stored interval comes first, and the difference must be significant
        assert collapses(given | {"share_ci_low": 0.1, "share_ci_high": 0.6}, 0.5) == UNTOLD
        assert collapses(given | {"share_ci_low": 0.1, "share_ci_high": None}, 0.5) == UNTOLD
        assert collapses(given | {"p_adjusted": 0.2}, 0.5) == UNTOLD


@pytest.mark.parametrize(
    ("r", "low", "high", "count", "p", "expected"),
    [
        (0.0, -0.3, 0.3, 40, 1.0, SHOWN),
        (0.0, -0.3, 0.3, 10, 1.0, UNTOLD),  # Fisher's interval of ten points ends at 0.63
        (-0.2, -0.3, 0.2, 3, 1.0, UNTOLD),  # three points never show an absence
        (-1.0, -1.0, -1.0, 3, 0.33, UNTOLD),
        (0.72, 0.1, 0.9, 9, 0.09, UNTOLD),
        (0.97, 0.9, 0.99, 10, 0.001, CONTRARY),
        (0.97, 0.9, 0.99, 10, 0.06, UNTOLD),
        (0.70, 0.2, 0.9, 10, 0.03, UNTOLD),  # positive, but how strong?
        (None, None, None, 2, None, UNTOLD),
    ],
)
def test_a_weak_correlation_needs_its_whole_interval_below_the_margin(r, low, high, count, p, expected):
    given = {"value": r, "ci_low": low, "ci_high": high, "backbones": count, "p_adjusted": p}
    assert correlation_says(given, 0.5) == expected
    if expected == CONTRARY:
        assert correlation_says(given | {"outcome": "a difference of groups"}, 0.5) == UNTOLD
        assert correlation_says(given | {"outcome": "weak"}, 0.5) == SHOWN


def test_rows_that_are_not_tested_are_in_no_count():
    rows = [
        row(-0.2, -0.3, -0.1, 0.001),
        row(0.0, -0.3, 0.3, states=96),
        row(0.0, -0.01, 0.01) | {"outcome": AT_FLOOR},
        row(0.3, 0.2, 0.4) | {"outcome": NOT_LEARNT},
        row(None, None, None),
    ]
    found = tally(rows, lambda each: loses(each, 0.05))
    assert (found.shown, found.contrary, found.untold, found.left_out) == (1, 0, 1, 2)
    assert found.numbers == (24, 96)
    assert [is_tested(each) for each in rows] == [True, True, False, False, False]
    assert outcome_counts(rows, 0.05) == "lower in 1 of 2 cells, undecided in 1"
    assert outcome_counts(rows[2:], 0.05) == "not tested"
    said = left_out_sentence(rows)
    assert said.count("1 row is not tested") == 2 and "random actions" in said and "did not clearly" in said


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 0, 0), "shows here"),
        ((0, 3, 0), "does not show here: the opposite does"),
        ((0, 0, 3), "cannot be told with 24 initial states"),
        ((0, 0, 0), "was not tested here"),
        (
            (1, 1, 1),
            "shows here in part (1 of 3 shows it, 1 shows the opposite, 1 cannot be told with 24 initial "
            "states)",
        ),
        ((0, 1, 1), "does not show here (0 of 2 show it, 1 shows the opposite, 1 cannot be told with 24 "
                    "initial states)"),
    ],
)  # fmt: skip
def test_a_claim_says_the_weakest_thing(counts, words):
    assert Tally(*counts, numbers=(24, 24)).here == words
