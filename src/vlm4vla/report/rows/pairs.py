"""The main table's tests of every pair of backbones, and the ranking over all benchmarks together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis import rankings
from vlm4vla.analysis.by_task import success_by_task
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import Comparison, compare
from vlm4vla.analysis.records import cell_records
from vlm4vla.conventions.benchmarks import facts, score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.contrasts import LEVEL, printed_needed
from vlm4vla.report.rows.table import GAP, Block

Policy = tuple[str, str]  # model, variant
SEEDS = "seeds"  # what an undecided pair needs if its test is significant


def pair_tests(records: pd.DataFrame, policies: Sequence[Policy], benchmark: str) -> list[dict[str, Any]]:
    """Paired tests of all pairs of measured `policies`, with Holm's correction over the pairs.

    A pair is `decided` if its adjusted p is below 5 % and, with several training seeds, the interval over
    seeds excludes 0.
    """
    metric, tests = score_metric(benchmark), []
    comparisons: list[Comparison] = []
    cells = {policy: cell_records(records, *policy, benchmark) for policy in policies}
    for first, second in itertools.combinations(policies, 2):
        found = compare(cells[first], cells[second], metric)
        if found is not None:
            key = {"benchmark": benchmark, "metric": metric, "first": first[0], "second": second[0]}
            tests.append(key | {"first_variant": first[1], "second_variant": second[1]} | vars(found))
            comparisons.append(found)
    for test, p, decided in zip(tests, *_decide(tests), strict=True):
        test |= {"p_adjusted": p, "decided": decided}
    for test, each in zip(tests, comparisons, strict=True):
        test["needed"] = each.needed(LEVEL / len(tests), decided=test["p_adjusted"] < LEVEL)
    return tests


def _decide(tests: Sequence[dict[str, Any]]) -> tuple[list[float], list[bool]]:
    """Holm's p over `tests`, and whether each difference is decided."""
    adjusted = holm([test["p_value"] for test in tests])
    outside = [test["seeds"] < 2 or test["ci_low"] > 0 or test["ci_high"] < 0 for test in tests]
    return adjusted, [p < LEVEL and clear for p, clear in zip(adjusted, outside, strict=True)]


def better_pairs(tests: Sequence[dict[str, Any]]) -> set[tuple[Policy, Policy]]:
    """The decided pairs, each as (better policy, worse policy)."""
    return {_ordered(test) for test in tests if test["decided"]}


def _ordered(test: Mapping[str, Any]) -> tuple[Policy, Policy]:
    first, second = (test["first"], test["first_variant"]), (test["second"], test["second_variant"])
    return (first, second) if test["difference"] > 0 else (second, first)


def pair_block(
    tests: Sequence[dict[str, Any]], policies: Sequence[Policy], labels: Sequence[str], title: str
) -> Block:
    """Each row against each column: `+` better, `-` worse, or the initial states that the pair needs."""
    cells = {}
    for test in tests:
        pair = (test["first"], test["first_variant"]), (test["second"], test["second_variant"])
        up = test["difference"] > 0
        undecided = SEEDS if test["p_adjusted"] < LEVEL else printed_needed(test["needed"])
        for key, better in ((pair, up), (pair[::-1], not up)):
            cells[key] = ("+" if better else "-") if test["decided"] else undecided
    grid = [
        [f"{number} {label}", *("" if one == other else cells.get((one, other), GAP) for other in policies)]
        for number, (label, one) in enumerate(zip(labels, policies, strict=True), 1)
    ]
    return Block(title, ["pairs", *(str(number + 1) for number in range(len(policies)))], grid)


PAIRS = (
    "Pairs of backbones: exact paired tests of the row against the column. + is better and - is worse, after "
    "Holm's correction over the pairs of a benchmark. A number marks an undecided pair: the same test, "
    "at the level of Holm's first step and with at least one state more, would need that many paired initial "
    "states for 80 % power if the measured difference were the true one "
    f"({GAP}: more than a million, no difference, or not measured). {SEEDS}: these trained policies differ, "
    "but the interval over training seeds includes 0, and more initial states cannot decide the pair."
)


def pair_sentence(tests: Sequence[dict[str, Any]], benchmark: str, scale: str) -> str:
    """The number of pairs that differ after Holm's correction; empty without pairs."""
    if not tests:
        return ""
    decided = sum(test["decided"] for test in tests)
    unadjusted = sum(test["p_value"] < LEVEL for test in tests)
    return (
        f"{names.benchmark(benchmark, scale)}: {decided} of {len(tests)} pairs of backbones "
        f"{'differs' if decided == 1 else 'differ'} at the 5 % level after Holm's correction "
        f"({unadjusted} without the correction)."
    )


def rank_over_all(
    records: pd.DataFrame,
    policies: Sequence[Policy],
    benchmarks: Sequence[str],
    tests: Mapping[str, Sequence[dict[str, Any]]] | None = None,
) -> tuple[list[Policy], list[rankings.Ranking], dict[str, Any]]:
    """The policies that were measured on every benchmark, their rankings, and the details for JSON.

    `tests`: the result of `pair_tests` for each benchmark, made here by default. The confidence sets of the
    mean ranks follow from them, with Holm's correction over the pairs of all benchmarks.
    """
    complete = [
        policy
        for policy in policies
        if all(not cell_records(records, *policy, benchmark).empty for benchmark in benchmarks)
    ]
    grids = {}
    for benchmark in benchmarks if complete else ():
        grid = rankings.Grid.from_cells(
            [cell_records(records, *policy, benchmark) for policy in complete], benchmark
        )
        if grid is None:
            return [], [], {}
        grids[benchmark] = grid
    if tests is None:
        tests = {benchmark: pair_tests(records, complete, benchmark) for benchmark in benchmarks}
    found = rankings.rank_over_benchmarks(grids, better=_better_on_all(tests, complete, benchmarks))
    if not found:
        return [], [], {}
    details = {
        "policies": [
            {"model": model, "variant": variant} | vars(each)
            for (model, variant), each in zip(complete, found, strict=True)
        ],
        "thresholds": rankings.THRESHOLDS.tolist(),
        "improvement": rankings.improvement_matrix(grids).tolist(),
        "benchmarks": list(benchmarks),
    }
    return complete, found, details


def _better_on_all(
    tests: Mapping[str, Sequence[dict[str, Any]]], complete: Sequence[Policy], benchmarks: Sequence[str]
) -> dict[str, np.ndarray]:
    """For each benchmark, whether the row is better than the column, corrected over all benchmarks."""
    chosen = [
        (benchmark, test)
        for benchmark in benchmarks
        for test in tests[benchmark]
        if set(_ordered(test)) <= set(complete)
    ]
    _, decided = _decide([test for _, test in chosen])
    shown: dict[str, set[tuple[Policy, Policy]]] = {benchmark: set() for benchmark in benchmarks}
    for (benchmark, test), clear in zip(chosen, decided, strict=True):
        if clear:
            shown[benchmark].add(_ordered(test))
    return {name: rankings.better_matrix(complete, better) for name, better in shown.items()}


def ranking_block(labels: Sequence[str], found: Sequence[rankings.Ranking]) -> Block:
    """The backbones in the order of their mean rank."""
    grid = []
    for label, each in sorted(zip(labels, found, strict=True), key=lambda pair: pair[1].rank):
        better = GAP
        if each.improvement is not None:
            better = _span(each.improvement, each.improvement_ci, 100, 1)
        grid.append(
            [
                label,
                _span(each.rank, each.rank_ci, 1, 1),
                f"{100 * each.best:.0f}",
                _span(each.iqm, each.iqm_ci, 100, 1),
                better,
            ]
        )
    header = ["all benchmarks together", "mean rank", "first in resamples, %"]
    title = "Ranking over all benchmarks"
    return Block(title, [*header, "interquartile mean, %", "better than another, %"], grid)


RANKS = (
    "Ranks (figure): backbones with equal scores share the mean of their places. The 95 % confidence set of "
    "a rank follows from the tests of the pairs: it leaves out a place only if the marks + and - exclude it. "
    "All sets of a benchmark together contain the true ranks of these trained policies with 95 % confidence. "
    "The share of bootstrap resamples in which a backbone is first is split between equal backbones."
)

RANKING = (
    "Ranking over all benchmarks (after rliable, arXiv 2108.13264): the mean over benchmarks of the rank by "
    "score (1 is best; equal scores share their places), with its 95 % confidence set from the tests of the "
    "pairs, after Holm's correction over all benchmarks; the share of resamples in which the mean rank is "
    "the best (a tie counts in parts); and, with 95 % bootstrap intervals over initial states and, if there "
    "are several, training seeds, the interquartile mean of the scores by task (for chains, by instructions "
    "in a row) and the probability that an episode goes better than an episode of another backbone, where a "
    "tie counts half."
)


def _span(value: float, interval: tuple[float, float], factor: int, digits: int) -> str:
    low, high = interval
    return f"{factor * value:.{digits}f} [{factor * low:.{digits}f}, {factor * high:.{digits}f}]"


def task_grid(records: pd.DataFrame, policies: Sequence[Policy], benchmark: str) -> list[dict[str, Any]]:
    """Success by task with false-discovery control. Empty for chains: few policies reach the later tasks."""
    if facts(benchmark).is_chain:
        return []
    several = len({variant for _, variant in policies}) > 1
    cells = {
        f"{model} {variant}" if several else model: cell_records(records, model, variant, benchmark)
        for model, variant in policies
    }
    return [{"benchmark": benchmark} | row for row in success_by_task(cells)]
