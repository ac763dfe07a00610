"""Tests of the paper's comparisons from its own numbers: unpaired, with Holm's correction in each table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlm4vla.analysis.chain_means import compare_means
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.unpaired import compare_rates
from vlm4vla.report.published_study.numbers import EXPERT, PublishedNumber

LEVEL = 0.05
SURVIVES = "survives"
DOES_NOT_SURVIVE = "does not survive"
UNDECIDED = "not decided by the published numbers"
Pair = tuple[str, PublishedNumber, PublishedNumber]


@dataclass(frozen=True)
class PublishedComparison:
    """The first minus the second number, in the table's unit.

    `p_value` is the largest and `p_least` the smallest p that the published numbers allow. They differ if
    only a mean is published, or a rate that no whole number of its trials gives. `adjusted` and
    `adjusted_least` are the two values after Holm's correction over the table.
    """

    table: str
    question: str
    first: PublishedNumber
    second: PublishedNumber
    difference: float
    ci_low: float
    ci_high: float
    test: str
    p_value: float
    p_least: float
    adjusted: float = 1.0
    adjusted_least: float = 1.0

    @property
    def verdict(self) -> str:
        """SURVIVES, DOES_NOT_SURVIVE or UNDECIDED, at the 5 % level."""
        return verdict(self.adjusted, self.adjusted_least)


def verdict(adjusted: float, adjusted_least: float) -> str:
    """SURVIVES, DOES_NOT_SURVIVE or UNDECIDED, from the largest and the smallest adjusted p."""
    if adjusted < LEVEL:
        return SURVIVES
    return DOES_NOT_SURVIVE if adjusted_least >= LEVEL else UNDECIDED


def adjust(tests: Sequence[Any]) -> list[Any]:
    """The tests of one table, dataclasses with the p values of PublishedComparison, with Holm's correction.

    A test whose `p_value` is None could not be made. It keeps None and is not counted.
    """
    most = holm([test.p_value for test in tests])
    least = holm([test.p_least for test in tests])
    return [
        replace(test, adjusted=high, adjusted_least=low)
        for test, high, low in zip(tests, most, least, strict=True)
    ]


def compare_all(numbers: Sequence[PublishedNumber]) -> list[PublishedComparison]:
    """All comparisons of all tables, with p adjusted within each table."""
    results = []
    for table, pairs in PAIRS.items():
        own = [number for number in numbers if number.table == table]
        results += adjust([_compare(table, *pair) for pair in pairs(own)])
    return results


def _compare(
    table: str, question: str, first: PublishedNumber, second: PublishedNumber
) -> PublishedComparison:
    if first.is_rate:
        trials = first.trials, second.trials
        test = compare_rates((first.value * trials[0], second.value * trials[1]), trials)
        p_value = test.p_value
    else:
        test = compare_means(first.chain(), second.chain())
        p_value = test.p_most
    return PublishedComparison(
        table,
        question,
        first,
        second,
        test.difference,
        test.ci_low,
        test.ci_high,
        test.test,
        p_value,
        test.p_least,
    )


def _main(numbers: Sequence[PublishedNumber]) -> Iterator[Pair]:
    """All pairs of backbones, and each backbone against each expert VLA."""
    for benchmark in dict.fromkeys(number.benchmark for number in numbers):
        here = [number for number in numbers if number.benchmark == benchmark]
        backbones = [number for number in here if number.kind != EXPERT]
        for first, second in itertools.combinations(backbones, 2):
            yield "backbone against backbone", first, second
        for expert in (number for number in here if number.kind == EXPERT):
            for backbone in backbones:
                yield "backbone against expert VLA", backbone, expert


def _freeze(numbers: Sequence[PublishedNumber]) -> Iterator[Pair]:
    for number in numbers:
        if number.variant != "full":
            full = _find(numbers, number, variant="full")
            if full:
                yield f"{number.variant} against all trained", number, full


def _fast(numbers: Sequence[PublishedNumber]) -> Iterator[Pair]:
    for number in numbers:
        other = _find(numbers, number, variant="full")
        if number.variant != "full" and other:
            yield "frozen against trained vision encoder of the VLA", number, other
        other = _find(numbers, number, auxiliary="none")
        if number.auxiliary != "none" and other:
            yield "FAST tokens against none", number, other
        other = _find(numbers, number, auxiliary="fast-freeze-vision")
        if number.auxiliary == "fast-unfreeze-vision" and other:
            yield "FAST tokens with a trained against a frozen vision encoder of the VLM", number, other


def _auxiliary(numbers: Sequence[PublishedNumber]) -> Iterator[Pair]:
    for number in numbers:
        other = _find(numbers, number, auxiliary="none")
        if number.metric == "average_length" and number.auxiliary != "none" and other:
            yield "auxiliary task against none", number, other


def _find(
    numbers: Sequence[PublishedNumber], like: PublishedNumber, **changes: str
) -> PublishedNumber | None:
    """The number whose cell differs from the cell of `like` in `changes` only; None if there is none."""
    keys = ("model", "variant", "auxiliary", "benchmark", "metric")
    wanted = tuple(changes.get(key, getattr(like, key)) for key in keys)
    return next((number for number in numbers if number.cell == wanted), None)


PAIRS: dict[str, Callable[[Sequence[PublishedNumber]], Iterator[Pair]]] = {
    "main": _main,
    "freeze": _freeze,
    "fast_injection": _fast,
    "auxiliary": _auxiliary,
}
