"""Published numbers that cannot be what they are said to be, and what they could be instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlm4vla.analysis.chain_means import from_rates
from vlm4vla.analysis.printed_rates import possible_counts, truncated_counts, whole_percentages
from vlm4vla.report import names
from vlm4vla.report.published_study.numbers import READING_ERROR, TASKS, Number

REPETITIONS = (2, 3)  # of all trials: tried where one pass does not give the number


@dataclass(frozen=True)
class Flag:
    """`reason` says what does not fit; `fits` lists what would give the number."""

    number: Number
    reason: str
    fits: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        instead = f"; would fit: {', or '.join(self.fits)}" if self.fits else ""
        return f"{self.number.table}: {self.number.label}: {self.reason}{instead}."


def find_flags(numbers: Sequence[Number]) -> list[Flag]:
    """Every flag, in the order of `numbers`."""
    flags = [flag for number in numbers for flag in (_no_count(number), _not_the_mean(number)) if flag]
    return flags + _disagreements(numbers)


def _no_count(number: Number) -> Flag | None:
    """A percentage that no whole number of the stated trials gives."""
    trials, text = number.trials, number.text
    if number.metric != "success_rate" or possible_counts(text, trials):
        return None
    fits = []
    for times in REPETITIONS:
        counts = possible_counts(text, times * trials)
        if counts:
            fits.append(f"{_either(counts)} of {times} x {trials}")
    cut = truncated_counts(text, trials)
    if cut:
        fits.append(f"{_either(cut)} of {trials}, cut off and not rounded")
    tasks = TASKS[number.benchmark]
    # with 50 trials a task its percentage has no decimals anyway
    if 100 % (trials // tasks) and whole_percentages(text, tasks):
        fits.append(f"a mean of {tasks} tasks' percentages without decimals")
    exact = float(text) / 100 * trials
    return Flag(
        number, f"{text} % is {exact:.2f} of {trials} trials, and no whole number rounds to it", tuple(fits)
    )


def _either(counts: Sequence[int]) -> str:
    return " or ".join(map(str, counts))


def _not_the_mean(number: Number) -> Flag | None:
    """An average length that is not the mean of its own five rates, reading errors allowed for."""
    if not number.rates:
        return None
    mean = from_rates(number.rates, number.trials).mean
    if abs(mean - number.value) <= 2 * 5 * READING_ERROR + 1e-9:
        return None
    return Flag(number, f"average length {number.value:.3f}, but success at 1 to 5 add up to {mean:.3f}")


def _disagreements(numbers: Sequence[Number]) -> list[Flag]:
    """The same cell printed in two tables with values that no rounding makes equal."""
    first: dict[tuple[str, ...], Number] = {}
    flags = []
    for number in numbers:
        other = first.setdefault(number.cell, number)
        (low, high), (other_low, other_high) = number.range(), other.range()
        if low > other_high + 1e-9 or other_low > high + 1e-9:
            flags.append(Flag(number, f"{_shown(number)} here and {_shown(other)} in {other.table}"))
    return flags


def _shown(number: Number) -> str:
    return f"{number.text} %" if number.scale == 0.01 else names.published(number.metric, number.value)
