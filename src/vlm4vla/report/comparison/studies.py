"""The comparison of two results folders cell by cell: both scores, their difference, and a test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from vlm4vla.analysis.estimates import Estimate, estimate
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import SEEDS_AND_SEQUENTIAL, SEEDS_AND_STATES, compare, table_spread
from vlm4vla.analysis.records import outcome, read_episodes
from vlm4vla.analysis.seed_spread import SeedSpread
from vlm4vla.analysis.stopped import can_stop
from vlm4vla.analysis.unpaired import UnpairedMeans, UnpairedRates, compare_rates, compare_samples
from vlm4vla.conventions.benchmarks import maximum, score_metric
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.cells import Cell
from vlm4vla.study.layout import EXECUTED
from vlm4vla.study.results_folder import Results

# Two episodes start from the same initial state if all of these columns agree,
STATE = ["task", "instruction", "initial_state", "rollout_seed"]
# and they run under the same protocol if all of these columns agree.
PROTOCOL = ("scale", "protocol", "max_steps", "execution_horizon")


@dataclass(frozen=True)
class Difference:
    """The second folder minus the first on one cell.

    `adjusted`: p after Holm's correction over all cells. `why_unpaired`: the reason why the test is not
    paired by initial state; empty for a paired test. `same_checkpoint`: whether both folders evaluated the
    same checkpoint.
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
    same_checkpoint: bool
    adjusted: float = 1.0

    @property
    def covers_seeds(self) -> bool:
        """Whether the test of the difference and its interval cover other training seeds."""
        return self.test in (SEEDS_AND_STATES, SEEDS_AND_SEQUENTIAL)


NOT_TESTED = "not tested: could stop early"


@dataclass(frozen=True)
class StudyComparison:
    """The `differences` in the order of the cells, and the cells that only one of the folders has."""

    differences: list[Difference]
    only_first: list[Cell]
    only_second: list[Cell]


class CellRecords:
    """The episode records of one cell of a study, with what every comparison of the cell needs."""

    def __init__(self, frame: pd.DataFrame, metric: str):
        self.frame, self.metric = frame, metric

    @cached_property
    def score(self) -> Estimate:
        """The score of the cell, with its interval."""
        found = estimate(self.frame, self.metric)
        if found is None:
            raise AssertionError("a file of episodes is never empty")
        return found

    @cached_property
    def early(self) -> bool:
        """Whether a rollout could stop early."""
        return can_stop(self.frame)

    @cached_property
    def protocol(self) -> Mapping[str, set]:
        """The values of each column of PROTOCOL."""
        return {key: set(self.frame[key]) for key in PROTOCOL}

    @cached_property
    def numbered(self) -> pd.DataFrame:
        """The records with the rank of their initial state as the number of the episode."""
        states = _states(self.frame)
        ranks = {state: rank for rank, state in enumerate(sorted(set(states)))}
        return self.frame.assign(episode=[ranks[state] for state in states])

    @cached_property
    def distinct(self) -> tuple[int, str]:
        """The number of initial states, and a digest of all of them: equal for the same states."""
        states = sorted(set(_states(self.frame)))
        return len(states), hashlib.sha256(repr(states).encode()).hexdigest()

    @cached_property
    def ambiguous(self) -> bool:
        """Whether two episodes of a training seed cannot be told apart by their initial state."""
        return bool(self.frame.duplicated(["seed", *STATE]).any())


class StudyRecords:
    """The episode records of one study. Each file is read once, for any number of comparisons.

    Rollouts with another number of executed steps than the benchmark's are left out. Raises UserError for a
    folder without episodes.
    """

    def __init__(self, results: Results):
        self.root = results.root
        self._files = _files_by_cell(results)
        self._found: dict[Cell, CellRecords] = {}

    @property
    def cells(self) -> list[Cell]:
        """The cells by benchmark and name."""
        return list(self._files)

    def of(self, cell: Cell) -> CellRecords:
        """The records of `cell`. Raises UserError for records that cannot be read or are of another cell."""
        if cell not in self._found:
            frame = read_episodes(self._files[cell])
            for row in frame[list(Cell._fields)].drop_duplicates().itertuples(index=False, name=None):
                if row != cell:
                    raise UserError(
                        f"{self._files[cell][0].parent.parent}: has episodes of {_path_like(row)}: move them "
                        "to the folder of their own cell"
                    )
            self._found[cell] = CellRecords(frame, score_metric(cell.benchmark))
        return self._found[cell]

    def leave_out(self, cell: Cell) -> None:
        """Take `cell` for a cell without records."""
        del self._files[cell]


def compare_studies(first: Results, second: Results) -> StudyComparison:
    """Compare all cells for which both folders have episodes.

    Raises UserError if a folder has no episodes, if the folders share no cell, and for records that cannot
    be read.
    """
    return compare_records(StudyRecords(first), StudyRecords(second))


def compare_records(first: StudyRecords, second: StudyRecords) -> StudyComparison:
    """`compare_studies` of folders whose records may have been read before."""
    others = set(second.cells)
    shared = [cell for cell in first.cells if cell in others]
    if not shared:
        raise UserError(
            f"{first.root} and {second.root}: no cell is in both: write two folders that have policies with "
            "the same names"
        )
    sides = {cell: (first.of(cell), second.of(cell)) for cell in shared}
    spreads = {
        benchmark: table_spread(
            [side.frame for cell, both in sides.items() if cell.benchmark == benchmark for side in both],
            score_metric(benchmark),
        )
        for benchmark in {cell.benchmark for cell in shared}
    }
    found = [_difference(cell, *both, spreads[cell.benchmark]) for cell, both in sides.items()]
    adjusted = holm([each.p_value for each in found])
    return StudyComparison(
        [replace(each, adjusted=p) for each, p in zip(found, adjusted, strict=True)],
        [cell for cell in first.cells if cell not in sides],
        [cell for cell in second.cells if cell not in sides],
    )


def _files_by_cell(results: Results) -> dict[Cell, list[Path]]:
    """The episode files of each cell, one per training seed, sorted by cell. Raises UserError for none."""
    found: dict[Cell, list[Path]] = {}
    for path in results.episode_files():
        if EXECUTED in path.parent.name or not path.is_file():
            continue
        model, auxiliary, variant, benchmark = path.parts[-6:-2]
        found.setdefault(Cell(model, variant, benchmark, auxiliary), []).append(path)
    if not found:
        raise UserError(f"{results.root}: no episodes.parquet under rollouts/: run the rollouts first")
    return dict(sorted(found.items(), key=lambda item: (item[0].benchmark, *item[0])))


def _difference(cell: Cell, first: CellRecords, second: CellRecords, spread: SeedSpread | None) -> Difference:
    """`spread`: of the training seeds on the benchmark, pooled over all cells of both folders."""
    metric = first.metric
    early = first.early or second.early
    if early:
        shared = set(_states(first.frame)) & set(_states(second.frame))
        both = [side.frame[[state in shared for state in _states(side.frame)]] for side in (first, second)]
        first, second = [CellRecords(side, metric) for side in both] if shared else (first, second)
    why_unpaired = _why_unpaired(first, second)
    same_checkpoint = set(first.frame["checkpoint"]) == set(second.frame["checkpoint"])
    # With one seed on a side, its distance from other seeds is unknown. The same trained policies have none.
    several = min(side.frame["seed"].nunique() for side in (first, second)) > 1 and not same_checkpoint
    if why_unpaired:
        test = _unpaired_test(first.frame, second.frame, metric)
    else:
        # Number the states equally on both sides, and shift the seeds: two studies share no training run.
        own, other = first.numbered, second.numbered
        other = other.assign(seed=other["seed"] + own["seed"].max() + 1)
        test = compare(other, own, metric, spread if several else None)
        if test is None:
            raise AssertionError("both sides have episodes on the same states")
    return Difference(
        cell,
        metric,
        first.score,
        second.score,
        test.difference,
        test.ci_low,
        test.ci_high,
        NOT_TESTED if early and why_unpaired else test.test,
        1.0 if early and why_unpaired else test.p_value,  # the unpaired tests need a fixed number of states
        why_unpaired,
        same_checkpoint,
    )


def _why_unpaired(first: CellRecords, second: CellRecords) -> str:
    """Why a paired test is not possible; empty for the same initial states under the same protocol."""
    for key in PROTOCOL:
        values, other_values = first.protocol[key], second.protocol[key]
        if values != other_values:
            if key == "protocol":
                return "the protocol differs"
            return f"{key} differs ({_listed(values)} in A, {_listed(other_values)} in B)"
    if first.distinct != second.distinct:
        same_number = first.distinct[0] == second.distinct[0]
        return "the initial states differ" if same_number else "the number of initial states differs"
    if first.ambiguous or second.ambiguous:
        return "the records do not distinguish all initial states"
    return ""


def _path_like(row: tuple[str, ...]) -> str:
    """A cell as the folders of rollouts name it."""
    cell = Cell(*row)
    return f"{cell.model}/{cell.auxiliary}/{cell.variant}/{cell.benchmark}"


def _states(records: pd.DataFrame) -> list[tuple]:
    return list(records[STATE].itertuples(index=False, name=None))


def _listed(values: set) -> str:
    return ", ".join(map(str, sorted(values)))


def _unpaired_test(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> UnpairedRates | UnpairedMeans:
    """Test the second against the first side.

    Boschloo's test for success of a single seed on each side, otherwise a permutation test of the means by
    initial state.
    """
    sides = [
        side.assign(outcome=outcome(side, metric)).groupby("episode")["outcome"].mean().to_numpy()
        for side in (second, first)
    ]
    single = all(side["seed"].nunique() == 1 for side in (first, second))
    if metric == "average_length" or not single:
        return compare_samples(*sides, (0.0, maximum(first["benchmark"].iloc[0], metric)))
    return compare_rates(tuple(float(side.sum()) for side in sides), tuple(map(len, sides)))
