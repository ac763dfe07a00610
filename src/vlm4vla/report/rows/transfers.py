"""Rank correlations between benchmarks over the same backbones: the numbers of the table transfer."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vlm4vla.analysis.correlation import Correlation, correlate
from vlm4vla.analysis.groups import groupings
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.noise_free import noise_free_interval, shared_noise_variance
from vlm4vla.analysis.rankings import Grid
from vlm4vla.analysis.records import cell_records, check
from vlm4vla.analysis.sensitivity import by_family, leave_one_out
from vlm4vla.analysis.stopped import fill_stops
from vlm4vla.analysis.transfer import Reliability, ceiling, read_transfer, reliability, rho, testable
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.conventions.lineages import lineage
from vlm4vla.conventions.scales import StudyScale
from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.report.comparison.studies import StudyRecords
from vlm4vla.report.rows.cells import Row, measure, score_metrics
from vlm4vla.report.rows.correlations import ALL
from vlm4vla.report.rows.paper_numbers import Published
from vlm4vla.study.other_studies import (
    KEY,
    backbone_rollouts,
    on_real_simulator,
    opened_study,
    shared_backbones,
)

VARIANT = "full"
RHO, REPEATS = "spearman_rho", "rank_reliability"


@dataclass(frozen=True)
class Side:
    """One benchmark of one study: its policies' records and the tidy row of each policy, by backbone.

    `study`: empty for this study.
    """

    benchmark: str
    scale: StudyScale
    study: str
    records: pd.DataFrame
    rows: Mapping[str, Row]
    digest: str = ""
    """Of the other study's records: the SHA-256 of the hashes of all files, in the order of their paths."""

    @property
    def real(self) -> bool:
        """Whether a real simulator was used."""
        return self.scale.is_real(self.benchmark)

    @property
    def label(self) -> str:
        """`Bridge (embedded)`, `MetaWorld`, or `MetaWorld of the study metaworld`."""
        shown = names.benchmark(self.benchmark, self.scale)
        return f"{shown} of the study {self.study}" if self.study else shown

    def grid(self, models: Sequence[str]) -> Grid | None:
        """The outcomes of `models` on the initial states that they share."""
        found = [cell_records(self.records, model, VARIANT, self.benchmark) for model in models]
        return Grid.from_cells(found, self.benchmark)

    def scores(self, models: Sequence[str]) -> np.ndarray:
        """The scores (n,) of `models`, rounded: the order of summation must not break ties."""
        return np.array([self.rows[model]["value"] for model in models], dtype=np.float64).round(12)


def sides_of(
    records: pd.DataFrame,
    models: Sequence[str],
    benchmarks: Sequence[str],
    scale: StudyScale,
    published: Published,
    seeds: Sequence[int],
    study: str = "",
) -> tuple[list[Side], list[str]]:
    """The sides of one study, and the gaps."""
    wanted = [(model, VARIANT, name) for name in benchmarks for model in models]
    rows, gaps = measure(records, wanted, score_metrics(benchmarks), published, scale, seeds)
    found = [
        Side(
            name,
            scale,
            study,
            records,
            {row["model"]: row for row in rows if row["benchmark"] == name and row["value"] is not None},
        )
        for name in benchmarks
    ]
    return found, [f"{gap} of the study {study}" if study else gap for gap in gaps]


def other_sides(
    text: str, models: Sequence[str], experts: Sequence[str], own: str, published: Published
) -> tuple[list[Side], list[str]]:
    """The sides of the study at the path `text`, and the gaps.

    `models`: the backbones of this study, whose name is `own`. `experts`: the names of its expert VLAs, which
    are no backbones there either. Raises UserError for records that cannot be used, and for too few shared
    backbones (`shared_backbones`).
    """
    path = Path(text)
    rollouts = backbone_rollouts(path)
    shared = shared_backbones(path, models, set(rollouts.values()) - set(experts))
    with opened_study(path) as results:
        study = StudyRecords(results)
        cells = [
            cell
            for cell in study.cells
            if cell.model in shared and (cell.variant, cell.auxiliary) == (VARIANT, "none")
        ]
        frames = [study.of(cell).frame for cell in cells]
        digest = _digest(results.root / name for name, model in rollouts.items() if model in shared)
        real = {
            cell.benchmark
            for cell in cells
            if on_real_simulator(results, cell.model, cell.benchmark, cell.variant)
        }
    records = fill_stops(pd.concat(frames, ignore_index=True))
    for column in ("study", "scale"):
        values = sorted(set(records[column]))
        if len(values) > 1:
            raise UserError(
                f"{KEY}: {text!r}: {column} is mixed ({', '.join(values)}): use records of one {column}"
            )
    try:
        check(records)
    except UserError as error:
        raise UserError(f"{KEY}: {text!r}: {error}") from None
    name, scale = records["study"].iloc[0], StudyScale(records["scale"].iloc[0], real)
    if name == own:
        name = f"{name} in {text}"
    benchmarks = names.in_order(records["benchmark"])
    gaps = [f"{names.model(model)} in the study {name}" for model in models if model not in shared]
    found, missing = sides_of(records, shared, benchmarks, scale, published, (), name)
    return [replace(side, digest=digest) for side in found], [*gaps, *missing]


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256("\n".join(map(file_hash, paths)).encode()).hexdigest()


def pairs_of(sides: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    """The pairs that the table shows: all but those of two sides of other studies."""
    return (pair for pair in itertools.combinations(sides, 2) if not pair[0].study)


def transfers(
    sides: Sequence[Side],
    models: Sequence[str],
    families: Mapping[str, str],
    margin: float,
    published: Published,
) -> tuple[list[Row], list[dict[str, Any]]]:
    """A tidy row for each pair of `sides`, and what its verdict rests on.

    `families`: the family of each of `models`; without one of them, lineages are not checked. Holm's
    correction covers all pairs.
    """
    points, rows = [], []
    for first, second in pairs_of(sides):
        shared = [model for model in models if model in first.rows and model in second.rows]
        x, y = first.scores(shared), second.scores(shared)
        result = correlate(x, y) if len(shared) > 2 else None
        points.append((first, second, shared, x, y))
        rows.append(_row(first, second, shared, result, published))
    for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_adjusted"] = p
    checks = [_check(row, *each, families, margin) for row, each in zip(rows, points, strict=True)]
    return rows, checks


def _row(
    first: Side, second: Side, shared: Sequence[str], result: Correlation | None, published: Published
) -> Row:
    grids = [side.grid(shared) for side in (first, second)]
    repeats = [_reliability(grid) for grid in grids]
    measured = [side.rows[model] for side in (first, second) for model in shared]
    low, high = result.spearman_ci if result else (None, None)
    return {
        "model": ALL,
        "variant": VARIANT,
        "benchmark": first.benchmark,
        "other_benchmark": second.benchmark,
        "other_study": second.study or None,
        "metric": RHO,
        "value": result and result.spearman,
        "ci_low": low,
        "ci_high": high,
        "episodes": min((row["episodes"] for row in measured), default=None),
        "seeds": min((row["seeds"] for row in measured), default=None),
        "published": _published_rho(first, second, shared, published),
        "backbones": len(shared),
        "p_value": result and result.spearman_p,
        "p_method": result and result.p_method,
        "ceiling": ceiling(*repeats),
        "repeats_by": " and ".join(dict.fromkeys(each.by for each in repeats if each)) or None,
    }


def _published_rho(first: Side, second: Side, shared: Sequence[str], published: Published) -> float | None:
    """Rho of the paper's numbers on both benchmarks; None for two runs of one benchmark."""
    if first.benchmark == second.benchmark:
        return None
    values = [
        [
            published.value(model, VARIANT, name, score_metric(name))
            for name in (first.benchmark, second.benchmark)
        ]
        for model in shared
    ]
    known = np.array([pair for pair in values if None not in pair], dtype=np.float64)
    return rho(*known.T) if len(known) > 2 else None


def _reliability(grid: Grid | None) -> Reliability | None:
    return None if grid is None else reliability(grid.values, grid.task_index)


def _check(
    row: Row,
    first: Side,
    second: Side,
    shared: Sequence[str],
    x: np.ndarray,
    y: np.ndarray,
    families: Mapping[str, str],
    margin: float,
) -> dict[str, Any]:
    """What the verdict of `row` rests on. Its outcome and verdict are added to `row` (in place)."""
    points = leave_one_out(x, y, [names.model(name) for name in shared], ranks=True)
    grouped = lineages = None
    if points and all(name in families for name in shared):
        lineages = [lineage(families[name]) for name in shared]
        grouped = testable(by_family(x, y, lineages, ranks=True), lineages)
    groups = groupings(x, y, first.label, second.label, given=lineages)
    found = read_transfer(
        row["value"],
        row["p_adjusted"],
        points,
        grouped,
        groups=groups,
        interval=(row["ci_low"], row["ci_high"]),
        limit=row["ceiling"],
        count=len(shared),
        margin=margin,
    )
    row["outcome"], row["verdict"] = found.outcome, found.words
    row["without_one_low"], row["without_one_high"] = (points.low, points.high) if points else (None, None)
    return {
        "benchmark": first.benchmark,
        "other_benchmark": second.benchmark,
        "other_study": second.study or None,
        "label": first.label,
        "other_label": second.label,
        "real": [first.real, second.real],
        "outcome": found.outcome,
        "verdict": found.words,
        "groups": [vars(each) | {"members": dict(zip(shared, each.member, strict=True))} for each in groups],
        "leave_one_out": points and vars(points),
        "families": grouped and vars(grouped) | {"without": grouped.without and vars(grouped.without)},
        "rollouts_ci": list(_noise_free(first, second, shared) if points else (None, None)),
    }


def _noise_free(first: Side, second: Side, shared: Sequence[str]) -> tuple[float, float] | tuple[None, None]:
    """The interval of Pearson's r between the true scores of these trained policies, without noise."""
    scores, variances = [], []
    for side in (first, second):
        grid = side.grid(shared)
        if grid is None:
            return None, None
        by_state = np.nanmean(grid.values, axis=1).T
        scores.append(by_state.mean(axis=0))
        variances.append(shared_noise_variance(by_state, grid.task_index))
    return noise_free_interval(*scores, *variances)


def repeat_rows(sides: Sequence[Side], models: Sequence[str]) -> list[Row]:
    """A tidy row for each side: how well its ranking of all its backbones repeats."""
    rows = []
    for side in sides:
        known = [model for model in models if model in side.rows]
        found = _reliability(side.grid(known)) if known else None
        measured = [side.rows[model] for model in known]
        rows.append(
            {
                "model": ALL,
                "variant": VARIANT,
                "benchmark": side.benchmark,
                "other_study": side.study or None,
                "metric": REPEATS,
                "value": found and found.value,
                "ci_low": None,
                "ci_high": None,
                "episodes": min((row["episodes"] for row in measured), default=None),
                "seeds": min((row["seeds"] for row in measured), default=None),
                "published": None,
                "backbones": len(known),
                "single": found and found.single,
                "repeats_by": found and found.by,
            }
        )
    return rows


def ranks(side: Side, models: Sequence[str]) -> dict[str, float]:
    """The rank of each measured backbone of `models`; 1 is the highest score, ties share their mean."""
    known = [model for model in models if model in side.rows]
    if not known:
        return {}
    return dict(zip(known, map(float, stats.rankdata(-side.scores(known))), strict=True))
