"""From records to a table's tidy rows: every cell measured, or named as a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from vlm4vla.analysis.agreement import agreement
from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.records import run_of
from vlm4vla.conventions.benchmarks import MAXIMUM, score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.paper_numbers import Published
from vlm4vla.report.rows.table import GAP

FLOOR, CEILING = "random", "expert"
Row = dict[str, Any]


class Cell(NamedTuple):
    """What one row of a table was measured on; `auxiliary`: what the backbone was fine-tuned on before."""

    model: str
    variant: str
    benchmark: str
    auxiliary: str = "none"

    def label(self, scale: str) -> str:
        """`Kosmos-2 all trained on Bridge (smoke)`, with the auxiliary task where there was one."""
        after = "" if self.auxiliary == "none" else f" after {names.auxiliary(self.auxiliary)}"
        where = names.benchmark(self.benchmark, scale)
        return f"{names.model(self.model)}{after} {names.variant(self.variant)} on {where}"


def measure(
    records: pd.DataFrame,
    cells: Sequence[tuple[str, ...]],
    metrics: Mapping[str, Sequence[str]],
    published: Published,
    scale: str,
    seeds: Sequence[int] = (),
) -> tuple[list[Row], list[str]]:
    """Tidy rows of `cells` (as `Cell`) by the `metrics` of each benchmark, and the gaps: cells without
    records, and those of `seeds` (training seeds) that a cell with records lacks."""
    rows, gaps = [], []
    for cell in (Cell(*each) for each in cells):
        own = run_of(records, *cell)
        if own.empty:
            gaps.append(cell.label(scale))
        elif cell.model not in (FLOOR, CEILING):
            missing = sorted(set(seeds) - set(own["seed"]))
            word = "seed" if len(missing) == 1 else "seeds"
            gaps += (
                [f"{cell.label(scale)}, {word} {names.joined(list(map(str, missing)))}"] if missing else []
            )
        for metric in metrics[cell.benchmark]:
            found = estimate(own, metric)
            told = published.value(*cell[:3], metric, cell.auxiliary)
            rows.append(
                {
                    **cell._asdict(),
                    "metric": metric,
                    "value": found and found.value,
                    "ci_low": found and found.ci_low,
                    "ci_high": found and found.ci_high,
                    "episodes": found and found.episodes,
                    "seeds": found and found.seeds,
                    "published": told,
                    "seed_sd": found and found.seed_sd,
                    "interval": found and found.interval,
                    "new_tasks_ci": found and found.new_tasks_ci,
                    "agreement": found
                    and agreement(
                        found.value,
                        (found.ci_low, found.ci_high),
                        told,
                        maximum=MAXIMUM.get(metric, 1.0),
                        scale=scale,
                    ),
                }
            )
    return rows, gaps


def floors(records: pd.DataFrame, benchmarks: Sequence[str]) -> dict[str, float]:
    """Score of random actions on each benchmark that has them."""
    found = {name: estimate(run_of(records, FLOOR, "full", name), score_metric(name)) for name in benchmarks}
    return {name: result.value for name, result in found.items() if result}


def pick(
    rows: Sequence[Row], model: str, variant: str, benchmark: str, metric: str, auxiliary: str = "none"
) -> Row:
    """The one row of a cell and metric. Raises LookupError when the table has none."""
    cell = Cell(model, variant, benchmark, auxiliary)
    for row in rows:
        if (*(row[key] for key in Cell._fields), row["metric"]) == (*cell, metric):
            return row
    raise LookupError(f"{' '.join(cell)} {metric}")


def printed(row: Row) -> str:
    """`2.31 [2.05, 2.58]`, rates in percent; a dash for a gap."""
    if row["value"] is None:
        return GAP
    value, low, high = (names.number(row["metric"], row[key]) for key in ("value", "ci_low", "ci_high"))
    return f"{value} [{low}, {high}]"


def printed_published(row: Row) -> str:
    return GAP if row["published"] is None else names.published(row["metric"], row["published"])
