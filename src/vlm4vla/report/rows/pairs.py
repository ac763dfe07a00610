"""The main table's tests of every pair of backbones, and the ranking over all benchmarks together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis import rankings
from vlm4vla.analysis.by_task import success_by_task
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import compare
from vlm4vla.analysis.records import cell_records
from vlm4vla.conventions.benchmarks import facts, score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.contrasts import LEVEL, printed_needed
from vlm4vla.report.rows.table import GAP, Block

Policy = tuple[str, str]  # model, variant


def pair_tests(records: pd.DataFrame, policies: Sequence[Policy], benchmark: str) -> list[dict[str, Any]]:
    """Paired tests of all pairs of measured `policies`, with Holm's correction over the pairs.

    A pair is `decided` if its adjusted p is below 5 % and, with several training seeds, the interval over
    seeds excludes 0.
    """
    metric, tests = score_metric(benchmark), []
    cells = {policy: cell_records(records, *policy, benchmark) for policy in policies}
    for first, second in itertools.combinations(policies, 2):
        found = compare(cells[first], cells[second], metric)
        if found is not None:
            key = {"benchmark": benchmark, "metric": metric, "first": first[0], "second": second[0]}
            tests.append(key | {"first_variant": first[1], "second_variant": second[1]} | vars(found))
    for test, p in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        outside = test["ci_low"] > 0 or test["ci_high"] < 0
        test |= {"p_adjusted": p, "decided": p < LEVEL and (test["seeds"] < 2 or outside)}
    return tests


def pair_block(
    tests: Sequence[dict[str, Any]], policies: Sequence[Policy], labels: Sequence[str], title: str
) -> Block:
    """Each row against each column: `+` better, `-` worse, or the initial states that the pair needs."""
    cells = {}
    for test in tests:
        pair = (test["first"], test["first_variant"]), (test["second"], test["second_variant"])
        up = test["difference"] > 0
        for key, better in ((pair, up), (pair[::-1], not up)):
            cells[key] = ("+" if better else "-") if test["decided"] else printed_needed(test["needed"])
    grid = [
        [f"{number} {label}", *("" if one == other else cells.get((one, other), GAP) for other in policies)]
        for number, (label, one) in enumerate(zip(labels, policies, strict=True), 1)
    ]
    return Block(title, ["pairs", *(str(number + 1) for number in range(len(policies)))], grid)


PAIRS = (
    "Pairs of backbones: exact paired tests of the row against the column. + is better and - is worse, after "
    "Holm's correction over the pairs of a benchmark. A number marks an undecided pair: the same test, "
    "unadjusted, would need that many paired initial states for 80 % power if the measured difference were "
    f"the true one ({GAP}: more than a million, no difference, or not measured)."
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
    records: pd.DataFrame, policies: Sequence[Policy], benchmarks: Sequence[str]
) -> tuple[list[Policy], list[rankings.Ranking], dict[str, Any]]:
    """The policies that were measured on every benchmark, their rankings, and the details for JSON."""
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
    found = rankings.rank_over_benchmarks(grids)
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


RANKING = (
    "Ranking over all benchmarks (after rliable, arXiv 2108.13264), with 95 % bootstrap intervals over "
    "initial states and, if there are several, training seeds: the mean over benchmarks of the rank by score "
    "(1 is best); the share of resamples in which no other backbone has a better mean rank; the "
    "interquartile mean of the scores by task (for chains, by instructions in a row); and the probability "
    "that an episode goes better than an episode of another backbone, where a tie counts half."
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
