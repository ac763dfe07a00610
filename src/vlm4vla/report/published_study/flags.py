"""Published numbers that contradict the paper's description of them, and possible explanations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm4vla.analysis.chain_means import from_rates
from vlm4vla.analysis.published_numbers import (
    TRUNCATED,
    mean_of_rounded,
    possible_totals,
    truncated_totals,
)
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.report import names
from vlm4vla.report.published_study.numbers import READING_ERROR, SOURCES, PublishedNumber

REPETITIONS = (2, 3)  # of all trials: tried if the stated trials do not give the number
# Limits of the search for means of rounded numbers: different sums, and trials of each number
MOST_STEPS, MOST_TRIALS = 200_000, 20_000


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
    found = misfit(number.text, number.trials, tasks=facts(number.benchmark).tasks, unit="%", scale=100)
    return None if found is None else Flag(number, found.reason, found.fits)


@dataclass(frozen=True)
class Misfit:
    """Why no whole total of the stated trials rounds to a printed number, and what would give the number.

    `same_trials`: whether the stated trials give it after all, with truncated decimals or as a mean of
    rounded numbers.
    """

    reason: str
    fits: tuple[str, ...]
    same_trials: bool


def misfit(
    text: str,
    trials: int,
    *,
    seeds: int = 1,
    tasks: int | None = None,
    most: int = 1,
    scale: int = 1,
    unit: str = "",
) -> Misfit | None:
    """Why no whole total of `trials` x `seeds` rollouts rounds to `text`, and what would; None if one does.

    `tasks`: the tasks that share the trials of a seed equally, if they are known. `most` and `scale`: as in
    `possible_totals`. `unit`: for the words. Raises ValueError unless `text` is a number from 0 to `scale` x
    `most`.
    """
    total = trials * seeds
    if possible_totals(text, total, most, scale):
        return None
    stated = f"{trials}" if seeds == 1 else f"{seeds} x {trials}"
    fits = []
    truncated = truncated_totals(text, total, most, scale)
    if truncated:
        fits.append(f"{_with_or(truncated)} of {stated}, truncated and not rounded")
    fits += _means(text, trials, seeds, tasks, most, scale)
    same = bool(fits)
    repeated = []
    for times in REPETITIONS:
        counts = possible_totals(text, times * total, most, scale)
        if counts:
            repeated.append(f"{_with_or(counts)} of {times * seeds} x {trials}")
    exact = float(text) / scale * total
    outcomes = "trials" if most == 1 else "chains"
    reason = f"{text}{unit and ' ' + unit} is {exact:.2f} of {stated} {outcomes}"
    if most > 1:
        reason = f"{text} is {exact:.2f} instructions in {stated} {outcomes}"
    return Misfit(f"{reason}, and no whole number rounds to it", (*repeated, *fits), same)


def _means(text: str, trials: int, seeds: int, tasks: int | None, most: int, scale: int) -> Iterator[str]:
    """The means of rounded numbers that give `text`: of tasks, of seeds, or of the tasks of all seeds."""
    parts = {"seeds": (seeds, trials)}
    if tasks and trials % tasks == 0:
        parts["tasks"] = (tasks, trials * seeds // tasks)
        if seeds > 1:
            parts["tasks and seeds"] = (tasks * seeds, trials // tasks)
    decimals = len(text.partition(".")[2])
    for name, (count, each) in parts.items():
        # A mean of numbers with many decimals is the number itself.
        for fine in range(min(decimals, 2) + 1):
            if count == 1 or count * scale * most * 10**fine > MOST_STEPS or each > MOST_TRIALS:
                continue
            found = mean_of_rounded(text, count, each, fine, most, scale)
            if found is not None:
                what = "percentages" if scale == 100 else "numbers"
                digits = f"with {fine} decimal{'s' * (fine > 1)}" if fine else "without decimals"
                cut = ", truncated and not rounded" if found == TRUNCATED else ""
                yield f"a mean of the {what} of {count} {name} {digits}{cut}"
                break


def _with_or(counts: Sequence[int]) -> str:
    shown = counts if len(counts) <= 4 else [*counts[:2], "...", counts[-1]]
    return " or ".join(map(str, shown))


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
            reason = f"{_printed(number)} in this table, but {_printed(other)} in {SOURCES[other.table]}"
            flags.append(Flag(number, reason))
    return flags


def _printed(number: PublishedNumber) -> str:
    return f"{number.text} %" if number.scale == 0.01 else names.published(number.metric, number.value)
