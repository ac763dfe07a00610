"""Which differences of a published table survive, at how many trials, and which cannot be decided."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vlm4vla.analysis.chain_means import LENGTH, compare_means, from_mean
from vlm4vla.analysis.intervals import wilson
from vlm4vla.analysis.printed_rates import (
    PrintedRate,
    compare_printed,
    rate_trials_needed,
)
from vlm4vla.analysis.published_numbers import possible_totals
from vlm4vla.report.judged.table_file import MEAN_LENGTH, PERCENT, SCORE, PrintedNumber, PrintedTable
from vlm4vla.report.published_study.comparisons import (
    DOES_NOT_SURVIVE,
    LEVEL,
    SURVIVES,
    UNDECIDED,
    adjust,
    verdict,
)
from vlm4vla.report.published_study.flags import Misfit, misfit

NOT_DECIDABLE = "not decidable"
VERDICTS = (SURVIVES, DOES_NOT_SURVIVE, UNDECIDED, NOT_DECIDABLE)
NO_TRIALS = "the number of trials is not stated"
NO_DISTRIBUTION = "a mean score does not determine its variance"
NO_BASELINE = "the baseline has no value in this column"


@dataclass(frozen=True)
class JudgedComparison:
    """The first minus the second number of a column.

    The p values are as in PublishedComparison, and None with a `reason` if no test is possible. `needed`:
    trials of each policy at which a difference of the printed size survives whatever the other comparisons
    give; None if it is not known or if there is no such number.
    """

    first: PrintedNumber
    second: PrintedNumber | None
    reason: str = ""
    difference: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    test: str | None = None
    p_value: float | None = None
    p_least: float | None = None
    adjusted: float | None = None
    adjusted_least: float | None = None
    needed: int | None = None

    @property
    def verdict(self) -> str:
        """One of VERDICTS, at the 5 % level."""
        if self.adjusted is None or self.adjusted_least is None:
            return NOT_DECIDABLE
        return verdict(self.adjusted, self.adjusted_least)


def judge(table: PrintedTable) -> list[JudgedComparison]:
    """All comparisons of the table, in the order of its columns, with Holm's correction over the table.

    If a line of the table names a baseline, the rows with a baseline are compared with it. Otherwise, each
    pair of rows is compared in each column.
    """
    tests = adjust([_compare(*pair) for pair in _pairs(table)])
    testable = sum(test.second is not None and test.first.unit != SCORE for test in tests)
    return [replace(test, needed=_needed(test, LEVEL / max(1, testable))) for test in tests]


def _pairs(table: PrintedTable) -> Iterator[tuple[PrintedNumber, PrintedNumber | None]]:
    cells = {(number.row, number.column): number for number in table.numbers}
    baselines = any(number.baseline for number in table.numbers)
    for column in table.columns:
        here = [number for number in table.numbers if number.column == column]
        if baselines:
            for number in here:
                if number.baseline:
                    yield number, cells.get((number.baseline, column))
        else:
            yield from itertools.combinations(here, 2)


def _compare(first: PrintedNumber, second: PrintedNumber | None) -> JudgedComparison:
    if second is None:
        return JudgedComparison(first, None, NO_BASELINE)
    difference = first.value - second.value
    if first.unit == SCORE:
        return JudgedComparison(first, second, NO_DISTRIBUTION, difference)
    if first.trials is None or second.trials is None:
        return JudgedComparison(first, second, NO_TRIALS, difference)
    test = compare_printed(_rate(first), _rate(second))
    least = test.p_least
    if not first.is_rate:
        chains = (from_mean(number.value, number.total) for number in (first, second))
        least = min(least, compare_means(*chains).p_least)
    unit = _unit(first)
    return JudgedComparison(
        first,
        second,
        "",
        difference,
        unit * test.ci_low,
        unit * test.ci_high,
        test.test,
        test.p_value,
        least,
    )


def _rate(number: PrintedNumber) -> PrintedRate:
    """A rate; for a mean length, the rate of chains of which each is solved entirely or not at all.

    Among all chains with a mean, these have the largest variance (Bhatia and Davis 2000).
    """
    unit, found = _unit(number), totals(number)
    counts = [min(found) // unit, -(-max(found) // unit)] if found else []
    return PrintedRate(number.value / unit, number.trials, number.seeds or 1, counts)


def _unit(number: PrintedNumber) -> int:
    """The largest outcome of one trial."""
    return LENGTH if number.unit == MEAN_LENGTH else 1


def totals(number: PrintedNumber) -> list[int]:
    """The whole totals over all rollouts that round to the printed number; none for a score."""
    if number.trials is None or number.unit == SCORE:
        return []
    return possible_totals(number.text, number.total, _unit(number), 100 if number.unit == PERCENT else 1)


def _needed(test: JudgedComparison, level: float) -> int | None:
    """The needed trials at the level of Holm's first step, in agreement with the verdict."""
    if test.second is None or test.first.unit == SCORE:
        return None
    unit = _unit(test.first)
    needed = rate_trials_needed(test.first.value / unit, test.second.value / unit, level)
    if needed is None or test.verdict == NOT_DECIDABLE:
        return needed
    stated = min(test.first.trials, test.second.trials)
    return min(needed, stated) if test.verdict == SURVIVES else max(needed, stated + 1)


def interval(number: PrintedNumber) -> tuple[float, float] | None:
    """The widest 95 % interval that the source allows; None if it does not determine one.

    Wilson's interval over the trials of one seed. For a mean length, it is the interval of chains of which
    each is solved entirely or not at all, which have the largest variance.
    """
    if number.trials is None or number.unit == SCORE:
        return None
    unit = _unit(number)
    low, high = wilson(number.value / unit * number.trials, number.trials)
    return unit * low, unit * high


def impossible(number: PrintedNumber) -> Misfit | None:
    """Why no whole total of the stated rollouts rounds to the number, and what would give it.

    None if one does, and if no trials are stated.
    """
    if number.trials is None or number.unit == SCORE or totals(number):
        return None
    percent = number.unit == PERCENT
    return misfit(
        number.text,
        number.trials,
        seeds=number.seeds or 1,
        tasks=number.tasks,
        most=_unit(number),
        scale=100 if percent else 1,
        unit="%" if percent else "",
    )
