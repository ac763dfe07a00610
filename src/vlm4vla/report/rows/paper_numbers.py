"""The paper's numbers, read from CSV. Tables print them next to the measured numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, BENCHMARKS, BRIDGE, CALVIN, SUCCESS_RATE, maximum
from vlm4vla.core.csv_files import number, read_csv
from vlm4vla.core.errors import UserError
from vlm4vla.report import marks
from vlm4vla.study.outputs import NOTES

# By column of the CSV: benchmark, metric, and the factor that converts the number into the table's unit.
COLUMNS = {
    each.paper_column: (each.name, each.score_metric, each.paper_factor) for each in BENCHMARKS.values()
}


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


def read_rows(path: Path, columns: set[str], key: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file as text. `key`: the columns whose cells no two rows may share.

    Raises UserError if the file, or one of `columns`, is missing, or if it has no rows or repeats one.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file: put the paper's numbers there")
    found: dict[tuple[str, ...], int] = {}
    rows = []
    for line, row in read_csv(path, sorted(columns), None):
        cell = tuple(row.get(name, "") for name in key)
        if cell in found:
            raise UserError(
                f"{path}: line {line}: {' '.join(filter(None, cell))!r} is already in line {found[cell]}: "
                "write it once"
            )
        found[cell] = line
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: no numbers: write a line for each row of the paper's table")
    return rows


def read_value(path: Path, row: Mapping[str, str], column: str, most: float) -> float:
    """The number in a cell of a file of the paper's numbers, 0 to `most`. Raises UserError."""
    try:
        value = number(row[column])
    except ValueError as error:
        problem = f"is not a number: {error}"
    else:
        if 0 <= value <= most:
            return value
        problem = f"is not a number from 0 to {most:g}: write the number as the paper prints it"
    raise UserError(f"{path}: {next(iter(row.values()))}: {column} {row[column]!r} {problem}")


def read_published(folder: Path, table: str) -> Published:
    """The numbers in `folder`/{main,freeze}.csv; a row without `variant` is a full VLA. Raises UserError."""
    path = folder / f"{table}.csv"
    rows = read_rows(path, {"model"}, ("model", "variant"))
    values, notes = {}, {}
    for row in rows:
        if row.get("note"):
            notes[row["model"]] = row["note"]
        for column, (benchmark, metric, scale) in COLUMNS.items():
            if row.get(column):
                key = (row["model"], row.get("variant") or "full", benchmark, metric, "none")
                # Percentages have at most two decimals. Rounding removes the floating-point error of 0.01.
                most = maximum(benchmark, metric) / scale
                values[key] = round(read_value(path, row, column, most) * scale, 6)
    return Published(values, notes, read_notes(folder))


def published_backbones(folder: Path) -> list[str]:
    """The backbones with numbers in `folder`/main.csv, which the experts there are not. Raises UserError."""
    rows = read_rows(folder / "main.csv", {"model"}, ("model", "variant"))
    return [row["model"] for row in rows if row.get("kind") != "expert"]


def read_notes(folder: Path) -> dict[tuple[str, str], str]:
    """The notes in `folder`/notes.csv by (model, benchmark). Raises UserError.

    A row of the file holds for every model and benchmark that it lists, in every table.
    """
    rows = read_rows(folder / NOTES, {"models", "benchmarks", "note"}, ("models", "benchmarks"))
    return {
        (model, benchmark): row["note"]
        for row in rows
        for model in row["models"].split()
        for benchmark in row["benchmarks"].split()
    }


def notes_sentence(notes: Iterable[str | None]) -> str:
    """The sentences of the marked numbers in a table, each once; empty if no number is marked."""
    return " ".join(f"{marks.DOUBT} {note[0].upper()}{note[1:]}." for note in dict.fromkeys(notes) if note)


def read_published_auxiliary(folder: Path) -> Published:
    """The numbers in `folder`/auxiliary_calvin.csv, which has success at 1 to 5 as fractions and their mean.

    Raises UserError.
    """
    path = folder / "auxiliary_calvin.csv"
    columns = {f"task{count}": metric for count, metric in enumerate(CALVIN.metrics[1:], start=1)}
    values = {}
    needed = {"base", "auxiliary", "avg_len_over_5", *columns}
    for row in read_rows(path, needed, ("base", "auxiliary")):
        found = {metric: read_value(path, row, column, 1) for column, metric in columns.items()}
        found[AVERAGE_LENGTH] = round(len(columns) * read_value(path, row, "avg_len_over_5", 1), 6)
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
    needed = {"model", "vlm_finetune", "vla_vision_encoder", "simpler_bridge_success"}
    for row in read_rows(path, needed, ("model", "vlm_finetune", "vla_vision_encoder")):
        if row["vla_vision_encoder"] not in variants:
            raise UserError(
                f"{path}: vla_vision_encoder {row['vla_vision_encoder']!r}: write {' or '.join(variants)}"
            )
        key = (row["model"], variants[row["vla_vision_encoder"]], BRIDGE.name, SUCCESS_RATE)
        values[*key, row["vlm_finetune"]] = round(
            read_value(path, row, "simpler_bridge_success", 100) / 100, 6
        )
    return Published(values, {}, read_notes(folder))


def read_published_correlation(folder: Path) -> dict[tuple[str, str], PublishedCorrelation]:
    """The correlations in `folder`/correlation.csv by (benchmark, question set). Raises UserError."""
    path = folder / "correlation.csv"
    needed = {"benchmark", "question_set", "backbones", "pearson_r", "note"}
    found = {}
    for row in read_rows(path, needed, ("benchmark", "question_set")):
        where = f"{path}: {row['benchmark']}"
        try:
            backbones = int(row["backbones"])
            pearson = number(row["pearson_r"]) if row["pearson_r"] else None
        except ValueError:
            backbones, pearson = 0, None
        if backbones < 4 or not -1 < (pearson or 0) < 1:
            raise UserError(
                f"{where}: backbones {row['backbones']!r}, pearson_r {row['pearson_r']!r}: write a whole "
                "number from 4 up, and a number between -1 and 1, or nothing if the paper states no r"
            )
        found[row["benchmark"], row["question_set"]] = PublishedCorrelation(backbones, pearson, row["note"])
    return found
