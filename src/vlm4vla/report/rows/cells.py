"""Tidy rows of a table, measured from episode records. A cell without records becomes a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.paired import table_spread
from vlm4vla.analysis.published_numbers import agreement
from vlm4vla.analysis.records import cell_records
from vlm4vla.analysis.seed_spread import SeedSpread
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import maximum, score_metric
from vlm4vla.conventions.scales import REAL
from vlm4vla.report import marks, names
from vlm4vla.report.rows.early_stops import stop_columns, stop_mark
from vlm4vla.report.rows.paper_numbers import Published, notes_sentence
from vlm4vla.report.rows.table import GAP

FLOOR, CEILING = "random", "expert"
Row = dict[str, Any]


class Cell(NamedTuple):
    """One policy on one benchmark. `auxiliary`: the task that its backbone was fine-tuned on before."""

    model: str
    variant: str
    benchmark: str
    auxiliary: str = "none"

    def label(self, scale: str) -> str:
        """`Kosmos-2 all trained on Bridge (smoke)`, with the auxiliary task if there is one."""
        after = "" if self.auxiliary == "none" else f" after {names.auxiliary(self.auxiliary)}"
        benchmark = names.benchmark(self.benchmark, scale)
        return f"{names.model(self.model)}{after} {names.variant(self.variant)} on {benchmark}"


def cells_on(benchmark: str, cells: Cells) -> list[Cell]:
    """The cells of a table on one benchmark, in the table's order."""
    return [
        Cell(model, variant, benchmark, task)
        for model in cells.backbones
        for variant in cells.variants
        for task in cells.auxiliaries[model]
    ]


def measure(
    records: pd.DataFrame,
    cells: Sequence[tuple[str, ...]],
    metrics: Mapping[str, Sequence[str]],
    published: Published,
    scale: str,
    seeds: Sequence[int] = (),
) -> tuple[list[Row], list[str]]:
    """Tidy rows of `cells` (fields of `Cell`), one per metric in the benchmark's `metrics`, and the gaps.

    A gap is a cell without records, or a cell whose records lack some of the training `seeds`. With several
    seeds, the intervals use the spread of the seeds over all `cells` on the benchmark.
    """
    rows, gaps = [], []
    spreads = seed_spreads(records, cells, metrics)
    for cell in (Cell(*each) for each in cells):
        own = cell_records(records, *cell)
        if own.empty:
            gaps.append(cell.label(scale))
        elif cell.model not in (FLOOR, CEILING):
            missing = sorted(set(seeds) - set(own["seed"]))
            word = "seed" if len(missing) == 1 else "seeds"
            gaps += (
                [f"{cell.label(scale)}, {word} {names.joined(list(map(str, missing)))}"] if missing else []
            )
        for metric in metrics[cell.benchmark]:
            found = estimate(own, metric, spreads.get((cell.benchmark, metric)))
            published_value = published.value(*cell[:3], metric, cell.auxiliary)
            rows.append(
                {
                    **cell._asdict(),
                    **stop_columns(own),
                    "metric": metric,
                    "value": found and found.value,
                    "ci_low": found and found.ci_low,
                    "ci_high": found and found.ci_high,
                    "episodes": found and found.episodes,
                    "seeds": found and found.seeds,
                    "published": published_value,
                    "seed_sd": found and found.seed_sd,
                    "interval": found and found.interval,
                    "new_tasks_ci": found and found.new_tasks_ci,
                    "agreement": found
                    and agreement(
                        found.value,
                        (found.ci_low, found.ci_high),
                        published_value,
                        maximum=maximum(cell.benchmark, metric),
                        scale=scale,
                    ),
                }
            )
            if scale in REAL and published_value is not None:
                rows[-1]["published_note"] = published.doubts.get((cell.model, cell.benchmark))
    return rows, gaps


def seed_spreads(
    records: pd.DataFrame, cells: Sequence[tuple[str, ...]], metrics: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], SeedSpread | None]:
    """For each benchmark and metric, the spread of the training seeds over the policies of `cells`."""
    policies: dict[str, list[pd.DataFrame]] = {}
    for cell in dict.fromkeys(Cell(*each) for each in cells):
        if cell.model not in (FLOOR, CEILING):
            policies.setdefault(cell.benchmark, []).append(cell_records(records, *cell))
    return {
        (benchmark, metric): table_spread(own, metric)
        for benchmark, own in policies.items()
        for metric in metrics[benchmark]
    }


def score_metrics(benchmarks: Sequence[str]) -> dict[str, list[str]]:
    """The `metrics` argument of `measure` for a table that shows the benchmarks' scores only."""
    return {benchmark: [score_metric(benchmark)] for benchmark in benchmarks}


def floors(records: pd.DataFrame, benchmarks: Sequence[str]) -> dict[str, float]:
    """The score of random actions on each benchmark that has records of them."""
    found = {
        name: estimate(cell_records(records, FLOOR, "full", name), score_metric(name)) for name in benchmarks
    }
    return {name: result.value for name, result in found.items() if result}


def pick(
    rows: Sequence[Row], model: str, variant: str, benchmark: str, metric: str, auxiliary: str = "none"
) -> Row:
    """The row of a cell and metric. Raises LookupError if the table has no such row."""
    cell = Cell(model, variant, benchmark, auxiliary)
    for row in rows:
        if (*(row[key] for key in Cell._fields), row["metric"]) == (*cell, metric):
            return row
    raise LookupError(f"{' '.join(cell)} {metric}")


def printed(row: Row) -> str:
    """`2.31 [2.05, 2.58]`, with rates in percent and a mark for an early stop; a dash for a gap."""
    if row["value"] is None:
        return GAP
    value, low, high = (names.number(row["metric"], row[key]) for key in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]{stop_mark(row)}"


def printed_published(row: Row) -> str:
    """The published value of the row's cell, with a mark if it has a note; a dash if there is none."""
    if row["published"] is None:
        return GAP
    return names.published(row["metric"], row["published"]) + marks.DOUBT * bool(row.get("published_note"))


def note_column(scale: str) -> tuple[str, ...]:
    """The column of the notes on published numbers, which tables of real models have."""
    return ("published_note",) if scale in REAL else ()


def notes_of(rows: Sequence[Row]) -> str:
    """The sentences about the published numbers that are marked in `rows`."""
    return notes_sentence(row.get("published_note") for row in rows)
