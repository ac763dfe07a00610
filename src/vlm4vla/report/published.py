"""The paper's numbers, read from CSV: facts that tables print beside what was measured."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.artefacts import UserError

# column of the CSV -> benchmark, metric, what turns the printed number into the table's unit
_COLUMNS = {
    "calvin_abcd_avg_len": ("calvin", "average_length", 1.0),
    "simpler_bridge_success": ("bridge", "success_rate", 0.01),
    "libero_10_success": ("libero-10", "success_rate", 0.01),
}


@dataclass(frozen=True)
class Published:
    """Numbers by (model, variant, benchmark, metric) in the table's units, and notes by model."""

    values: dict[tuple[str, str, str, str], float]
    notes: dict[str, str]

    def value(self, model: str, variant: str, benchmark: str, metric: str) -> float | None:
        return self.values.get((model, variant, benchmark, metric))


@dataclass(frozen=True)
class PublishedCorrelation:
    """`pearson` is None where the paper gives no number; `note` says what it gives then."""

    backbones: int
    pearson: float | None
    note: str


def _rows(path: Path, columns: set[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: the paper's numbers belong there") from None
    for name in sorted(columns - set(rows[0] if rows else {})):
        raise UserError(f"{path}: column {name!r} is missing: write it in the first line")
    return rows


def read_published(folder: Path, table: str) -> Published:
    """`folder`/{main,freeze}.csv. A row without `variant` is a full VLA. Raises UserError."""
    rows = _rows(folder / f"{table}.csv", {"model"})
    values, notes = {}, {}
    for row in rows:
        if row.get("note"):
            notes[row["model"]] = row["note"]
        for column, (benchmark, metric, scale) in _COLUMNS.items():
            if row.get(column):
                key = (row["model"], row.get("variant") or "full", benchmark, metric)
                # percentages have at most two decimals; rounding hides what 0.01 cannot represent
                values[key] = round(float(row[column]) * scale, 6)
    return Published(values, notes)


def read_published_correlation(folder: Path) -> dict[tuple[str, str], PublishedCorrelation]:
    """`folder`/correlation.csv by (benchmark, question set). Raises UserError."""
    path = folder / "correlation.csv"
    rows = _rows(path, {"benchmark", "question_set", "backbones", "pearson_r", "note"})
    return {
        (row["benchmark"], row["question_set"]): PublishedCorrelation(
            int(row["backbones"]), float(row["pearson_r"]) if row["pearson_r"] else None, row["note"]
        )
        for row in rows
    }
