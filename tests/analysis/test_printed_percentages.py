"""Printed percentages, compared with all counts and both directions of rounding."""

from __future__ import annotations

from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal

import pytest

from vlm4vla.analysis.published_numbers import is_mean_of_whole_percentages, possible_counts, truncated_counts


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
    assert possible_counts("23.95", 96) == [] and truncated_counts("23.95", 96) == [23]
    assert truncated_counts("27.6", 96) == []
    assert truncated_counts("100", 96) == [96]


def test_means_of_whole_percentages():
    assert is_mean_of_whole_percentages("46.75", 4) and is_mean_of_whole_percentages("28.0", 4)
    assert not is_mean_of_whole_percentages("23.95", 4) and not is_mean_of_whole_percentages("27.6", 4)


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1", "100.1"])
def test_a_bad_percentage(text):
    with pytest.raises(ValueError):
        possible_counts(text, 96)
