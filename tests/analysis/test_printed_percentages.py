"""Printed percentages, compared with all counts and both directions of rounding."""

from __future__ import annotations

import itertools
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pytest

from vlm4vla.analysis.published_numbers import (
    ROUNDED,
    TRUNCATED,
    mean_of_rounded,
    possible_counts,
    truncated_totals,
)


def printed(count: int, trials: int, decimals: int) -> set[str]:
    exact = Decimal(100 * count) / Decimal(trials)
    unit = Decimal(1).scaleb(-decimals)
    return {str(exact.quantize(unit, rounding)) for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN)}


@pytest.mark.parametrize("trials", [1, 3, 7, 24, 40, 96, 192, 288, 500])
@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_every_printed_count_is_found(trials, decimals):
    found: dict[str, set[int]] = {}
    for count in range(trials + 1):
        for text in printed(count, trials, decimals):
            found.setdefault(text, set()).add(count)
    for text, counts in found.items():
        assert set(possible_counts(text, trials)) == counts


def test_percentages_without_a_possible_count():
    assert possible_counts("27.6", 96) == [] and possible_counts("27.6", 192) == [53]
    assert possible_counts("56.3", 96) == [54]  # 56.25, rounded up
    assert possible_counts("53.7", 500) == [] and possible_counts("53.7", 1500) == [805, 806]
    assert possible_counts("0.0", 96) == [0] and possible_counts("100", 96) == [96]


def test_truncated_decimals():
    assert possible_counts("23.95", 96) == [] and truncated_totals("23.95", 96, scale=100) == [23]
    assert truncated_totals("27.6", 96, scale=100) == []
    assert truncated_totals("100", 96, scale=100) == [96]


@pytest.mark.parametrize(
    ("parts", "trials", "most", "scale", "fine", "decimals"),
    [
        (4, 6, 1, 100, 0, 1),
        (4, 8, 1, 100, 0, 2),
        (3, 7, 1, 100, 1, 1),
        (3, 9, 1, 1, 2, 2),
        (2, 5, 5, 1, 1, 2),
    ],
)
def test_means_of_rounded_numbers(parts, trials, most, scale, fine, decimals):
    """Against all combinations of outcomes, each rounded by Python's decimal module, as is their mean."""
    unit = Decimal(1).scaleb(-decimals)
    step, ways = Decimal(1).scaleb(-fine), (ROUND_HALF_UP, ROUND_HALF_DOWN)
    exact = [Decimal(scale * k) / Decimal(trials) for k in range(most * trials + 1)]
    rounded = {value.quantize(step, way) for value in exact for way in ways}
    found: dict[str, set[str]] = {ROUNDED: set(), TRUNCATED: set()}
    for chosen in itertools.combinations_with_replacement(sorted(rounded), parts):
        mean = sum(chosen) / parts
        found[ROUNDED] |= {str(mean.quantize(unit, way)) for way in (ROUND_HALF_UP, ROUND_HALF_EVEN)}
        found[TRUNCATED].add(str(mean.quantize(unit, ROUND_DOWN)))
    for number in range(int(most * scale / unit) + 1):
        text = str((number * unit).quantize(unit))
        way = ROUNDED if text in found[ROUNDED] else TRUNCATED if text in found[TRUNCATED] else None
        assert mean_of_rounded(text, parts, trials, fine, most, scale) == way, text


def test_means_of_whole_percentages_of_the_paper():
    """55.25 is printed as 55.3 elsewhere, which no count of 96 gives."""
    assert possible_counts("55.3", 96) == []
    for text in ("46.75", "28.0", "55.25", "55.3"):
        assert mean_of_rounded(text, 4, 24, 0, scale=100) == ROUNDED
    assert mean_of_rounded("45.7", 4, 24, 0, scale=100) == TRUNCATED  # 45.75
    for text in ("23.95", "27.6"):
        assert mean_of_rounded(text, 4, 24, 0, scale=100) is None


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1", "100.1"])
def test_a_bad_percentage(text):
    with pytest.raises(ValueError):
        possible_counts(text, 96)
