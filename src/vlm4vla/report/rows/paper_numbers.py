"""The paper's numbers, read from CSV. Tables print them next to the measured numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, BENCHMARKS, BRIDGE, CALVIN, SUCCESS_RATE
from vlm4vla.core.errors import UserError
from vlm4vla.study.outputs import NOTES

# By column of the CSV: benchmark, metric, and the factor that converts the number into the table's unit.
COLUMNS = {
    each.paper_column: (each.name, each.score_metric, each.paper_factor) for each in BENCHMARKS.values()
}


MARK = "\N{DAGGER}"  # of a published number with a note


@dataclass(frozen=True)
class Published:
    """Numbers by (model, variant, benchmark, metric, auxiliary) in the table's units, and notes.

    `notes`: by model, on where its numbers are published. `doubts`: by (model, benchmark), on what the
    numbers show.
    """

    values: dict[tuple[str, str, str, str, str], float]
    notes: dict[str, str]
    doubts: dict[tuple[str, str], str] = field(default_factory=dict)

    def value(
        self, model: str, variant: str, benchmark: str, metric: str, auxiliary: str = "none"
    ) -> float | None:
        """The published number of a cell; None if the paper has none."""
        return self.values.get((model, variant, benchmark, metric, auxiliary))


@dataclass(frozen=True)
class PublishedCorrelation:
    """`pearson` is None if the paper gives no number; `note` then says what the paper states instead."""

    backbones: int
    pearson: float | None
    note: str


def read_rows(path: Path, columns: set[str]) -> list[dict[str, str]]:
    """The rows of a CSV file as text. Raises UserError if the file or one of `columns` is missing."""
    try:
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: put the paper's numbers there") from None
    for name in sorted(columns - set(rows[0] if rows else {})):
        raise UserError(f"{path}: column {name!r} is missing: write it in the first line")
    return rows


def read_published(folder: Path, table: str) -> Published:
    """The numbers in `folder`/{main,freeze}.csv; a row without `variant` is a full VLA. Raises UserError."""
    rows = read_rows(folder / f"{table}.csv", {"model"})
    values, notes = {}, {}
    for row in rows:
        if row.get("note"):
            notes[row["model"]] = row["note"]
        for column, (benchmark, metric, scale) in COLUMNS.items():
            if row.get(column):
                key = (row["model"], row.get("variant") or "full", benchmark, metric, "none")
                # Percentages have at most two decimals. Rounding removes the floating-point error of 0.01.
                values[key] = round(float(row[column]) * scale, 6)
    return Published(values, notes, read_notes(folder))


def read_notes(folder: Path) -> dict[tuple[str, str], str]:
    """The notes in `folder`/notes.csv by (model, benchmark). Raises UserError.

    A row of the file holds for every model and benchmark that it lists, in every table.
    """
    rows = read_rows(folder / NOTES, {"models", "benchmarks", "note"})
    return {
        (model, benchmark): row["note"]
        for row in rows
        for model in row["models"].split()
        for benchmark in row["benchmarks"].split()
    }


def notes_sentence(notes: Iterable[str | None]) -> str:
    """The sentences of the marked numbers in a table, each once; empty if no number is marked."""
    return " ".join(f"{MARK} {note[0].upper()}{note[1:]}." for note in dict.fromkeys(notes) if note)


def read_published_auxiliary(folder: Path) -> Published:
    """The numbers in `folder`/auxiliary_calvin.csv, which has success at 1 to 5 as fractions and their mean.

    Raises UserError.
    """
    path = folder / "auxiliary_calvin.csv"
    columns = {f"task{count}": metric for count, metric in enumerate(CALVIN.metrics[1:], start=1)}
    values = {}
    for row in read_rows(path, {"base", "auxiliary", "avg_len_over_5", *columns}):
        found = {metric: float(row[column]) for column, metric in columns.items()}
        found[AVERAGE_LENGTH] = round(len(columns) * float(row["avg_len_over_5"]), 6)
        for metric, value in found.items():
            values[row["base"], "full", CALVIN.name, metric, row["auxiliary"]] = value
    return Published(values, {}, read_notes(folder))


def read_published_fast(folder: Path) -> Published:
    """The numbers in `folder`/fast_injection.csv.

    The file has success in percent by the VLM's fine-tuning, and by whether the VLA's vision encoder was
    frozen or trained. Raises UserError.
    """
    path = folder / "fast_injection.csv"
    variants = {"frozen": "freeze-vision", "trained": "full"}
    values = {}
    for row in read_rows(path, {"model", "vlm_finetune", "vla_vision_encoder", "simpler_bridge_success"}):
        if row["vla_vision_encoder"] not in variants:
            raise UserError(
                f"{path}: vla_vision_encoder {row['vla_vision_encoder']!r}: write {' or '.join(variants)}"
            )
        key = (row["model"], variants[row["vla_vision_encoder"]], BRIDGE.name, SUCCESS_RATE)
        values[*key, row["vlm_finetune"]] = round(float(row["simpler_bridge_success"]) / 100, 6)
    return Published(values, {}, read_notes(folder))


def read_published_correlation(folder: Path) -> dict[tuple[str, str], PublishedCorrelation]:
    """The correlations in `folder`/correlation.csv by (benchmark, question set). Raises UserError."""
    path = folder / "correlation.csv"
    rows = read_rows(path, {"benchmark", "question_set", "backbones", "pearson_r", "note"})
    return {
        (row["benchmark"], row["question_set"]): PublishedCorrelation(
            int(row["backbones"]), float(row["pearson_r"]) if row["pearson_r"] else None, row["note"]
        )
        for row in rows
    }
