"""The paper's comparisons, tested from its own numbers: unpaired, with Holm's correction in each table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vlm4vla.analysis.chain_means import compare_means
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.two_proportions import compare_rates
from vlm4vla.report.published_study.numbers import EXPERT, Number

LEVEL = 0.05
SURVIVES, FALLS, OPEN = "survives", "does not survive", "not decided by the published numbers"
Pair = tuple[str, Number, Number]


@dataclass(frozen=True)
class Compared:
    """First minus second number, in the table's unit.

    `p_value` is the largest and `p_least` the smallest that the published numbers allow; they differ where
    only a mean is published, or a rate that its trials cannot give. The `adjusted` ones are after Holm's
    correction over the table.
    """

    table: str
    question: str
    first: Number
    second: Number
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
        if self.adjusted < LEVEL:
            return SURVIVES
        return FALLS if self.adjusted_least >= LEVEL else OPEN

    @property
    def favours(self) -> str:
        return "higher" if self.difference > 0 else "lower" if self.difference < 0 else "equal"


def compare_all(numbers: Sequence[Number]) -> list[Compared]:
    """Every comparison of every table, corrected within its table."""
    results = []
    for table, pairs in PAIRS.items():
        own = [number for number in numbers if number.table == table]
        tested = [_compare(table, *pair) for pair in pairs(own)]
        most = holm([one.p_value for one in tested])
        least = holm([one.p_least for one in tested])
        for one, adjusted, adjusted_least in zip(tested, most, least, strict=True):
            results.append(Compared(**{**vars(one), "adjusted": adjusted, "adjusted_least": adjusted_least}))
    return results


def _compare(table: str, question: str, first: Number, second: Number) -> Compared:
    if first.is_rate:
        trials = first.trials, second.trials
        test = compare_rates((first.value * trials[0], second.value * trials[1]), trials)
        p_value = test.p_value
    else:
        test = compare_means(first.chain(), second.chain())
        p_value = test.p_most
    return Compared(
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


def _main(numbers: Sequence[Number]) -> Iterator[Pair]:
    """All pairs of backbones, and every backbone against every expert VLA."""
    for benchmark in dict.fromkeys(number.benchmark for number in numbers):
        here = [number for number in numbers if number.benchmark == benchmark]
        backbones = [number for number in here if number.kind != EXPERT]
        for first, second in itertools.combinations(backbones, 2):
            yield "backbone against backbone", first, second
        for expert in (number for number in here if number.kind == EXPERT):
            for backbone in backbones:
                yield "backbone against expert VLA", backbone, expert


def _freeze(numbers: Sequence[Number]) -> Iterator[Pair]:
    for number in numbers:
        if number.variant != "full":
            full = _find(numbers, number, variant="full")
            if full:
                yield f"{number.variant} against all trained", number, full


def _fast(numbers: Sequence[Number]) -> Iterator[Pair]:
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


def _auxiliary(numbers: Sequence[Number]) -> Iterator[Pair]:
    for number in numbers:
        other = _find(numbers, number, auxiliary="none")
        if number.metric == "average_length" and number.auxiliary != "none" and other:
            yield "auxiliary task against none", number, other


def _find(numbers: Sequence[Number], like: Number, **changes: str) -> Number | None:
    """The number of the same cell but for `changes`."""
    keys = ("model", "variant", "auxiliary", "benchmark", "metric")
    wanted = tuple(changes.get(key, getattr(like, key)) for key in keys)
    return next((number for number in numbers if number.cell == wanted), None)


PAIRS: dict[str, Callable[[Sequence[Number]], Iterator[Pair]]] = {
    "main": _main,
    "freeze": _freeze,
    "fast_injection": _fast,
    "auxiliary": _auxiliary,
}
