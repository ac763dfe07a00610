"""The main table's tests of every pair of backbones, and the ranking over all benchmarks together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis import rankings
from vlm4vla.analysis.by_task import success_by_task
from vlm4vla.analysis.multiplicity import benjamini_hochberg, holm
from vlm4vla.analysis.paired import Comparison, compare, table_spread
from vlm4vla.analysis.records import cell_records
from vlm4vla.conventions.benchmarks import facts, score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.contrasts import LEVEL
from vlm4vla.report.rows.table import GAP, Block

Policy = tuple[str, str]  # model, variant
SEEDS = "seeds"  # what an undecided pair needs if these trained policies differ
MANY = "?"  # an undecided pair for which no number of states can be given; a dash would look like a minus


def pair_tests(records: pd.DataFrame, policies: Sequence[Policy], benchmark: str) -> list[dict[str, Any]]:
    """`table_pairs` of a single benchmark."""
    return table_pairs(records, policies, [benchmark])[benchmark]


def table_pairs(
    records: pd.DataFrame, policies: Sequence[Policy], benchmarks: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """For each benchmark, paired tests of all pairs of measured `policies`.

    Holm's correction covers the pairs of all benchmarks, so that all marks of the table hold together. A pair
    is `decided` if its adjusted p is below 5 %. With several training seeds, the p value covers seeds and
    states, and the spread of the seeds is pooled over all policies. `hinges_on_seeds`: an undecided pair
    whose trained policies differ by the test over states alone.
    """
    found = {name: _pairs_on(records, policies, name) for name in benchmarks}
    all_pairs = [pair for own in found.values() for pair in own]
    states_only = holm([test.states_p_value for _, test in all_pairs])
    adjusted = _adjusted([keys for keys, _ in all_pairs])
    for (keys, test), p, states_p in zip(all_pairs, adjusted, states_only, strict=True):
        keys |= {"p_adjusted": p, "decided": p < LEVEL, "hinges_on_seeds": p >= LEVEL > states_p}
        keys["needed"] = test.needed(LEVEL / len(all_pairs), decided=p < LEVEL)
    return {name: [keys for keys, _ in own] for name, own in found.items()}


def _pairs_on(
    records: pd.DataFrame, policies: Sequence[Policy], benchmark: str
) -> list[tuple[dict[str, Any], Comparison]]:
    """The comparison of each pair on one benchmark, also as a dictionary with the names of the policies."""
    metric, tests = score_metric(benchmark), []
    cells = {policy: cell_records(records, *policy, benchmark) for policy in policies}
    spread = table_spread(list(cells.values()), metric)
    for first, second in itertools.combinations(policies, 2):
        found = compare(cells[first], cells[second], metric, spread)
        if found is not None:
            keys = {"benchmark": benchmark, "metric": metric, "first": first[0], "second": second[0]}
            keys |= {"first_variant": first[1], "second_variant": second[1]} | vars(found)
            tests.append((keys, found))
    return tests


def _adjusted(tests: Sequence[dict[str, Any]]) -> list[float]:
    """Holm's p over `tests`."""
    return holm([test["p_value"] for test in tests])


def better_pairs(tests: Sequence[dict[str, Any]]) -> set[tuple[Policy, Policy]]:
    """The decided pairs, each as (better policy, worse policy)."""
    return {_ordered(test) for test in tests if test["decided"]}


def _ordered(test: Mapping[str, Any]) -> tuple[Policy, Policy]:
    first, second = (test["first"], test["first_variant"]), (test["second"], test["second_variant"])
    return (first, second) if test["difference"] > 0 else (second, first)


def pair_block(
    tests: Sequence[dict[str, Any]], policies: Sequence[Policy], labels: Sequence[str], title: str
) -> Block:
    """Each row against each column: `+` better, `-` worse, or the initial states that the pair needs.

    A pair that was not measured has a dash.
    """
    cells = {}
    for test in tests:
        pair = (test["first"], test["first_variant"]), (test["second"], test["second_variant"])
        up = test["difference"] > 0
        needed = MANY if test["needed"] is None else str(test["needed"])
        undecided = SEEDS if test["hinges_on_seeds"] else needed
        for key, better in ((pair, up), (pair[::-1], not up)):
            cells[key] = ("+" if better else "-") if test["decided"] else undecided
    grid = [
        [f"{number} {label}", *("" if one == other else cells.get((one, other), GAP) for other in policies)]
        for number, (label, one) in enumerate(zip(labels, policies, strict=True), 1)
    ]
    return Block(title, ["pairs", *(str(number + 1) for number in range(len(policies)))], grid)


PAIRS = (
    "Pairs of backbones: paired tests of the row against the column. + is better and - is worse, after "
    "Holm's correction over all pairs of the table. With one training seed, the tests are exact, and + and "
    "- are about these trained policies. A number marks an undecided pair: the exact test over states, "
    "at the level of Holm's first step and with at least one state more, would need that many paired initial "
    "states for 80 % power if the measured difference were the true one "
    f"({MANY}: undecided, and the number is above a million, or there is no difference). {SEEDS}: these "
    "trained policies differ, but not beyond what other training seeds may change. More seeds are needed, "
    "not more initial states."
)


def pair_sentence(tests: Sequence[dict[str, Any]], benchmark: str, scale: str) -> str:
    """The number of pairs that differ after Holm's correction; empty without pairs."""
    if not tests:
        return ""
    decided = sum(test["decided"] for test in tests)
    unadjusted = sum(test["p_value"] < LEVEL for test in tests)
    trained = all(test["seeds"] < 2 for test in tests)
    variants = {test[key] for test in tests for key in ("first_variant", "second_variant")}
    return (
        f"{names.benchmark(benchmark, scale)}: {decided} of {len(tests)} pairs of "
        f"{'backbones' if len(variants) == 1 else 'policies'} "
        f"{'differs' if decided == 1 else 'differ'}{' in these trained policies' if trained else ''} "
        "at the 5 % level after Holm's correction "
        f"({unadjusted} without the correction)."
    )


def rank_over_all(
    records: pd.DataFrame,
    policies: Sequence[Policy],
    benchmarks: Sequence[str],
    tests: Mapping[str, Sequence[dict[str, Any]]] | None = None,
) -> tuple[list[Policy], list[rankings.Ranking], dict[str, Any]]:
    """The policies that were measured on every benchmark, their rankings, and the details for JSON.

    `tests`: the result of `table_pairs`, made here by default. The confidence sets of the
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
        tests = table_pairs(records, complete, benchmarks)
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
    decided = [p < LEVEL for p in _adjusted([test for _, test in chosen])]
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
    "All sets of a benchmark together contain the true ranks with 95 % confidence: the ranks of these "
    "trained policies with one training seed, and those of the backbones with several. "
    "The share of bootstrap resamples in which a backbone is first is split between equal backbones."
)

RANKING = (
    "Ranking over all benchmarks (after rliable, arXiv 2108.13264): the mean over benchmarks of the rank by "
    "score (1 is best; equal scores share their places), with its 95 % confidence set from the tests of the "
    "pairs, after Holm's correction over all benchmarks; the share of resamples in which the mean rank is "
    "the best (a tie counts in parts); and, with 95 % bootstrap intervals over initial states and, if there "
    "are several, training seeds, the interquartile mean of the scores of all training seeds on all tasks "
    "(all chains are one task) and the probability that an episode goes better than an episode of another "
    "backbone, where a tie counts half. With one seed, the interval of an interquartile mean is about "
    "these trained policies. With seeds that differ by about 8 points, it contains the true value in 90 to "
    "94 of 100 simulated studies with three seeds, and in 94 to 98 with five."
)


def _span(value: float, interval: tuple[float, float], factor: int, digits: int) -> str:
    low, high = interval
    return f"{factor * value:.{digits}f} [{factor * low:.{digits}f}, {factor * high:.{digits}f}]"


def task_grid(records: pd.DataFrame, policies: Sequence[Policy], benchmark: str) -> list[dict[str, Any]]:
    """`task_grids` of a single benchmark."""
    return task_grids(records, policies, [benchmark])


def task_grids(
    records: pd.DataFrame, policies: Sequence[Policy], benchmarks: Sequence[str]
) -> list[dict[str, Any]]:
    """Success by task, with control of the false-discovery rate over all `benchmarks`.

    Chains are left out: few policies reach the later tasks.
    """
    several, rows = len({variant for _, variant in policies}) > 1, []
    for benchmark in benchmarks:
        if facts(benchmark).is_chain:
            continue
        cells = {
            f"{model} {variant}" if several else model: cell_records(records, model, variant, benchmark)
            for model, variant in policies
        }
        rows += [{"benchmark": benchmark} | row for row in success_by_task(cells)]
    adjusted = benjamini_hochberg([row["p_value"] for row in rows])
    return [row | {"p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]
