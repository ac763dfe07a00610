"""Two results folders, cell by cell: the score of each, their difference, and a test of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vlm4vla.analysis.estimates import Estimate, estimate
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import compare
from vlm4vla.analysis.records import outcome, read_episodes
from vlm4vla.analysis.two_proportions import UnpairedRates, compare_rates
from vlm4vla.analysis.two_samples import UnpairedMeans, compare_samples
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.cells import Cell
from vlm4vla.study.results_folder import Results

# an initial state is the same where all of these are
STATE = ["task", "instruction", "initial_state", "rollout_seed"]
# and the episode is run in the same way where these are
PROTOCOL = ("scale", "protocol", "max_steps", "execution_horizon")


@dataclass(frozen=True)
class Difference:
    """Second folder minus first, on one cell; `adjusted` is p after Holm's correction over all cells.

    `why_unpaired`: what keeps the two from being compared state by state; empty for a paired test. `twins`:
    whether both were rolled out with the same checkpoint.
    """

    cell: Cell
    metric: str
    first: Estimate
    second: Estimate
    difference: float
    ci_low: float
    ci_high: float
    test: str
    p_value: float
    why_unpaired: str
    twins: bool
    adjusted: float = 1.0


@dataclass(frozen=True)
class Compared:
    """`differences` in the order of cells; cells that only one of the folders has."""

    differences: list[Difference]
    only_first: list[Cell]
    only_second: list[Cell]


def compare_studies(first: Results, second: Results) -> Compared:
    """Compare all cells that both folders have episodes of.

    Raises UserError when a folder has none, when they share none, and for records that cannot be read.
    """
    one, other = cells_of(first), cells_of(second)
    shared = [cell for cell in one if cell in other]
    if not shared:
        raise UserError(
            f"{first.root} and {second.root}: no cell is in both: write two folders with policies of "
            "the same names"
        )
    found = [_difference(cell, _read(one[cell]), _read(other[cell])) for cell in shared]
    adjusted = holm([each.p_value for each in found])
    return Compared(
        [replace(each, adjusted=p) for each, p in zip(found, adjusted, strict=True)],
        [cell for cell in one if cell not in other],
        [cell for cell in other if cell not in one],
    )


def cells_of(results: Results) -> Mapping[Cell, list[Path]]:
    """Episode files of every cell, one a training seed, sorted by cell. Raises UserError for none."""
    found: dict[Cell, list[Path]] = {}
    for path in results.episode_files():
        model, auxiliary, variant, benchmark = path.parts[-6:-2]
        found.setdefault(Cell(model, variant, benchmark, auxiliary), []).append(path)
    if not found:
        raise UserError(f"{results.root}: no episodes.parquet below rollouts/: roll out first")
    return dict(sorted(found.items(), key=lambda item: (item[0].benchmark, *item[0])))


def _read(paths: list[Path]) -> pd.DataFrame:
    return read_episodes(paths)


def _difference(cell: Cell, first: pd.DataFrame, second: pd.DataFrame) -> Difference:
    metric = score_metric(cell.benchmark)
    why = _why_unpaired(first, second)
    if why:
        test = _unpaired(first, second, metric)
    else:
        # one number for one state on both sides; training seeds of two studies are not the same runs
        states = {state: i for i, state in enumerate(sorted(set(_states(first))))}
        sides = [
            side.assign(episode=[states[state] for state in _states(side)], seed=side["seed"] + shift)
            for side, shift in ((first, 0), (second, first["seed"].max() + 1))
        ]
        test = compare(sides[1], sides[0], metric)
        if test is None:
            raise AssertionError("both sides have episodes on the same states")
    one, other = estimate(first, metric), estimate(second, metric)
    if one is None or other is None:
        raise AssertionError("a file of episodes is never empty")
    twins = set(first["checkpoint"]) == set(second["checkpoint"])
    return Difference(
        cell,
        metric,
        one,
        other,
        test.difference,
        test.ci_low,
        test.ci_high,
        test.test,
        test.p_value,
        why,
        twins,
    )


def _why_unpaired(first: pd.DataFrame, second: pd.DataFrame) -> str:
    """Empty when both met the same initial states under the same protocol."""
    for key in PROTOCOL:
        one, other = set(first[key]), set(second[key])
        if one != other:
            return f"{key} differs" if key == "protocol" else f"{key} {_listed(one)} against {_listed(other)}"
    one, other = _states(first), _states(second)
    if set(one) != set(other):
        same = len(set(one)) == len(set(other))
        return "other initial states" if same else "another number of initial states"
    for side in (first, second):
        if side.duplicated(["seed", *STATE]).any():
            return "initial states that nothing tells apart"
    return ""


def _states(records: pd.DataFrame) -> list[tuple]:
    return list(records[STATE].itertuples(index=False, name=None))


def _listed(values: set) -> str:
    return ", ".join(map(str, sorted(values)))


def _unpaired(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> UnpairedRates | UnpairedMeans:
    """Second against first: Boschloo's test for 0/1 outcomes of one seed, else states' means permuted."""
    sides = [
        side.assign(outcome=outcome(side, metric)).groupby("episode")["outcome"].mean().to_numpy()
        for side in (second, first)
    ]
    single = all(side["seed"].nunique() == 1 for side in (first, second))
    if metric == "average_length" or not single:
        return compare_samples(*sides)
    return compare_rates(tuple(float(side.sum()) for side in sides), tuple(map(len, sides)))
