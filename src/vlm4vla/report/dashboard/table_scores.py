"""Scores from the CSV files of a study's tables, which may come from elsewhere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.conventions.benchmarks import facts, maximum, score_metric
from vlm4vla.conventions.tables import TABLES
from vlm4vla.core import csv_files
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.cells import Cell
from vlm4vla.report.rows.table import TIDY

MOST_BYTES = 50_000_000
_ROUNDING = 1e-5  # relative; tables have six significant digits
_NUMBERS = ("value", "ci_low", "ci_high", "episodes", "seeds")


@dataclass(frozen=True)
class PrintedScore:
    """A score as a table's CSV file states it: what `estimate` gives for records, without the records."""

    value: float
    ci_low: float
    ci_high: float
    episodes: int
    seeds: int


def read_scores(path: Path) -> Mapping[Cell, PrintedScore]:
    """The scores of the cells in the CSV file `path`, if it is a table of the study.

    A row without an interval is left out: it is a gap, or a published value. Of a file with another name,
    only the format is checked. Raises UserError (one line with the file and the line) for a file that is
    not a table's.
    """
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES} bytes, so not a table: make the table again")
    found: dict[Cell, PrintedScore] = {}
    if path.stem not in TABLES:
        csv_files.read_csv(path, [], None)
        return found
    needed = [name for name in TIDY if name != "published"]
    for line, row in csv_files.read_csv(path, needed, None):
        where = f"{path}: line {line}"
        numbers = {name: _number(where, name, row[name]) for name in _NUMBERS if row[name]}
        if row["metric"] != score_metric(row["benchmark"]) or not numbers.keys() >= set(_NUMBERS):
            continue
        score = PrintedScore(
            numbers["value"],
            numbers["ci_low"],
            numbers["ci_high"],
            int(numbers["episodes"]),
            int(numbers["seeds"]),
        )
        most = maximum(row["benchmark"], row["metric"])
        room = _ROUNDING * most
        ordered = (-room, score.ci_low, score.value, score.ci_high, most + room)
        if any(low > high + room for low, high in itertools.pairwise(ordered)):
            raise UserError(
                f"{where}: {row['value']} [{row['ci_low']}, {row['ci_high']}] is no "
                f"{row['metric']} from 0 to {most:g} with its interval: make the table again"
            )
        cell = Cell(row["model"], row["variant"], row["benchmark"], row.get("auxiliary") or "none")
        found.setdefault(cell, score)
    return found


def _number(where: str, name: str, text: str) -> float:
    try:
        value = csv_files.number(text)
    except ValueError as error:
        raise UserError(f"{where}: {name} is {text[:40]!r}: {error}") from None
    if name in ("episodes", "seeds") and (value < 0 or not math.isclose(value, round(value))):
        raise UserError(f"{where}: {name} is {text[:40]!r}: write a whole number")
    return value


def title(benchmark: str) -> str:
    """The name of a benchmark as the tables print it."""
    return facts(benchmark).title
