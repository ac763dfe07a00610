"""Published numbers that contradict the paper's description of them, and possible explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlm4vla.analysis.chain_means import from_rates
from vlm4vla.analysis.published_numbers import is_mean_of_whole_percentages, possible_counts, truncated_counts
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.report import names
from vlm4vla.report.published_study.numbers import READING_ERROR, PublishedNumber

REPETITIONS = (2, 3)  # of all trials: tried if the stated trials do not give the number


@dataclass(frozen=True)
class Flag:
    """`reason`: why the number is impossible. `fits`: experiments that would give the number."""

    number: PublishedNumber
    reason: str
    fits: tuple[str, ...] = ()


def find_flags(numbers: Sequence[PublishedNumber]) -> list[Flag]:
    """The flags of all `numbers`: first those of single numbers, then those of numbers that disagree."""
    flags = [flag for number in numbers for flag in (_impossible_rate(number), _wrong_mean(number)) if flag]
    return flags + _disagreements(numbers)


def _impossible_rate(number: PublishedNumber) -> Flag | None:
    """A flag for a percentage that no whole number of the stated trials gives."""
    if number.metric != "success_rate":
        return None
    found = impossible_rate(number.text, number.trials, facts(number.benchmark).tasks)
    return None if found is None else Flag(number, *found)


def impossible_rate(text: str, trials: int, tasks: int | None = None) -> tuple[str, tuple[str, ...]] | None:
    """Why no whole number of `trials` gives the percentage `text`, and what would; None if a number does.

    `tasks`: the tasks that share the trials equally, if they are known. Raises ValueError unless `text` is a
    number from 0 to 100.
    """
    if possible_counts(text, trials):
        return None
    fits = []
    for times in REPETITIONS:
        counts = possible_counts(text, times * trials)
        if counts:
            fits.append(f"{_with_or(counts)} of {times} x {trials}")
    truncated = truncated_counts(text, trials)
    if truncated:
        fits.append(f"{_with_or(truncated)} of {trials}, truncated and not rounded")
    # With 50 trials per task, the percentage of a task has no decimals anyway.
    if tasks and 100 % (trials // tasks) and is_mean_of_whole_percentages(text, tasks):
        fits.append(f"a mean of the percentages of {tasks} tasks without decimals")
    exact = float(text) / 100 * trials
    reason = f"{text} % is {exact:.2f} of {trials} trials, and no whole number of trials rounds to it"
    return reason, tuple(fits)


def _with_or(counts: Sequence[int]) -> str:
    return " or ".join(map(str, counts))


def _wrong_mean(number: PublishedNumber) -> Flag | None:
    """A flag for an average length that is not the sum of its five rates, within the reading error."""
    if not number.rates:
        return None
    mean = from_rates(number.rates, number.trials).mean
    if abs(mean - number.value) <= 2 * 5 * READING_ERROR + 1e-9:
        return None
    reason = f"the average length is {number.value:.3f}, but success at 1 to 5 adds up to {mean:.3f}"
    return Flag(number, reason)


def _disagreements(numbers: Sequence[PublishedNumber]) -> list[Flag]:
    """Flags for cells that two tables print with different values, whatever the rounding."""
    first: dict[tuple[str, ...], PublishedNumber] = {}
    flags = []
    for number in numbers:
        other = first.setdefault(number.cell, number)
        (low, high), (other_low, other_high) = number.range(), other.range()
        if low > other_high + 1e-9 or other_low > high + 1e-9:
            reason = f"{_printed(number)} in this table, but {_printed(other)} in {other.table}"
            flags.append(Flag(number, reason))
    return flags


def _printed(number: PublishedNumber) -> str:
    return f"{number.text} %" if number.scale == 0.01 else names.published(number.metric, number.value)
