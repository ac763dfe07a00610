"""A published table as a CSV file that anyone can write: one printed number a line. See docs/judge.md."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.analysis.chain_means import LENGTH
from vlm4vla.analysis.published_numbers import possible_totals
from vlm4vla.core.csv_files import read_lines, records
from vlm4vla.core.errors import UserError, suggestion

NEEDED = ("row", "column", "value", "unit")
OPTIONAL = ("trials", "seeds", "baseline", "tasks")
PERCENT, SHARE, MEAN_LENGTH, SCORE = "percent", "share", "length", "score"
LIMITS = {PERCENT: 100.0, SHARE: 1.0, MEAN_LENGTH: float(LENGTH), SCORE: math.inf}
HEADINGS = ("title", "source", "date", "note")  # of the lines `# title: ...` before the header
MOST_TRIALS = 1_000_000
_NUMBER = re.compile(r"(\d+(\.\d+)?|\.\d+)", re.ASCII)
_SIGNED = re.compile(r"-?(\d+(\.\d+)?|\.\d+)", re.ASCII)
_BREAKS = re.compile(r"[|\x00-\x1f\x7f\u2028\u2029]")  # a name with these would break a table


@dataclass(frozen=True)
class PrintedNumber:
    """One printed number of a table.

    `text`: as printed. `trials`: rollouts of each training seed; None if the source does not state them.
    `seeds`: None if not stated. `baseline`: the row with which this row is compared; empty if none. `line`:
    of the file. `tasks`: that share the trials of a seed equally; None if not stated.
    """

    row: str
    column: str
    text: str
    unit: str
    trials: int | None
    seeds: int | None
    baseline: str
    line: int
    tasks: int | None = None

    @property
    def value(self) -> float:
        """A rate from 0 to 1, a mean length from 0 to 5, or a score."""
        return float(self.text) / 100 if self.unit == PERCENT else float(self.text)

    @property
    def is_rate(self) -> bool:
        return self.unit in (PERCENT, SHARE)

    @property
    def total(self) -> int | None:
        """Rollouts of all seeds. A source that states no seeds is taken to have one."""
        return None if self.trials is None else self.trials * (self.seeds or 1)


@dataclass(frozen=True)
class PrintedTable:
    """The numbers in the order of the file, and the headings title, source, date and note, if given."""

    name: str
    numbers: Sequence[PrintedNumber]
    headings: dict[str, str]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(number.column for number in self.numbers))

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(number.row for number in self.numbers))


def read_table(path: Path) -> PrintedTable:
    """Read a table. Raises UserError, one line with file and line number, if it cannot be used."""
    lines = read_lines(path)
    headings: dict[str, str] = {}
    start = 0
    while start < len(lines) and lines[start].lstrip().startswith("#"):
        key, colon, text = lines[start].lstrip("# \t").partition(":")
        if not colon or key.strip().lower() not in HEADINGS or not text.strip():
            raise UserError(
                f"{path}: line {start + 1}: {lines[start].strip()!r}: write `# title: ...`, `# source: ...`, "
                "`# date: ...` or `# note: ...`"
            )
        headings[key.strip().lower()] = " ".join(text.split())
        start += 1
    numbers: list[PrintedNumber] = []
    seen: dict[tuple[str, str], int] = {}
    for line, fields in records(path, lines[start:], start, NEEDED, OPTIONAL):
        number = _number(f"{path}: line {line}", fields, line)
        key = (number.row, number.column)
        if key in seen:
            raise UserError(
                f"{path}: line {line}: {number.row!r} already has a value for {number.column!r} in line "
                f"{seen[key]}: write one line"
            )
        seen[key] = line
        numbers.append(number)
    if not numbers:
        raise UserError(f"{path}: line {max(1, len(lines))}: no numbers: write one line per printed number")
    _check_baselines(path, numbers)
    _check_units(path, numbers)
    return PrintedTable(path.stem, numbers, headings)


def _number(where: str, fields: dict[str, str], line: int) -> PrintedNumber:
    for name in ("row", "column"):
        if not fields[name]:
            raise UserError(f"{where}: {name} is empty: write the name of the table's {name}")
        if _BREAKS.search(fields[name]):
            raise UserError(f"{where}: {name} {fields[name]!r}: write a name on one line without '|'")
    unit, text = fields["unit"].lower(), fields["value"]
    unit = PERCENT if unit == "%" else unit
    if unit not in LIMITS:
        raise UserError(
            f"{where}: unit {fields['unit']!r}: write percent, share (0 to 1), length (mean number of "
            f"instructions in chains of {LENGTH}) or score"
        )
    limit = LIMITS[unit]
    if not (_SIGNED if unit == SCORE else _NUMBER).fullmatch(text) or len(text) > 30:
        raise UserError(
            f"{where}: value {text!r} is not a number: write it as printed, with a decimal point, without "
            "sign, unit or error; leave the line out if the table has none"
        )
    if float(text) > limit:
        raise UserError(
            f"{where}: value {text} is more than {limit:g} ({unit}): check the value and the unit"
        )
    return PrintedNumber(
        fields["row"],
        fields["column"],
        text,
        unit,
        _count(where, "trials", fields),
        _count(where, "seeds", fields),
        fields.get("baseline", ""),
        line,
        _count(where, "tasks", fields),
    )


def _count(where: str, name: str, fields: dict[str, str]) -> int | None:
    text = fields.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= MOST_TRIALS:
        raise UserError(
            f"{where}: {name} {text!r}: write a whole number from 1 to {MOST_TRIALS:,}, or nothing if the "
            "source states none"
        )
    return int(text)


def _check_baselines(path: Path, numbers: Sequence[PrintedNumber]) -> None:
    rows = {number.row for number in numbers}
    for number in numbers:
        where = f"{path}: line {number.line}: baseline {number.baseline!r}"
        if number.baseline and number.baseline not in rows:
            raise UserError(f"{where} is no row of the table: {suggestion(number.baseline, rows)}")
        if number.baseline == number.row:
            raise UserError(f"{where} is the row itself: write another row, or nothing")


def _check_units(path: Path, numbers: Sequence[PrintedNumber]) -> None:
    """Raise UserError if a column mixes units, or if its percentages are obviously shares of 1."""
    first: dict[str, PrintedNumber] = {}
    for number in numbers:
        other = first.setdefault(number.column, number)
        if number.unit != other.unit:
            raise UserError(
                f"{path}: line {number.line}: {number.column!r} has the unit {number.unit}, but "
                f"{other.unit} in line {other.line}: write one unit per column"
            )
    for column, one in first.items():
        here = [number for number in numbers if number.column == column]
        values = [float(number.text) for number in here]
        if one.unit == PERCENT and max(values) <= 1 and any(0 < value < 1 for value in values):
            raise UserError(
                f"{path}: line {one.line}: all values of {column!r} are at most 1 percent: write the unit "
                "share if 1 means all trials, or divide percentages by 100 and write share"
            )
        if one.unit == PERCENT:
            _check_shares(path, here)


def _check_shares(path: Path, numbers: Sequence[PrintedNumber]) -> None:
    """Raise UserError for a probable share of 1 among the percentages of a column.

    That is a number below 1 that the stated trials do not give as a percentage, but as a share. Without
    stated trials, it is a number below 1 with more decimals than each number from 1 up.
    """
    decimals = max((_decimals(n) for n in numbers if float(n.text) >= 1), default=math.inf)
    for number in numbers:
        if not 0 < float(number.text) < 1:
            continue
        if number.total is None:
            share = _decimals(number) > decimals
        else:
            share = not possible_totals(number.text, number.total, 1, 100) and bool(
                possible_totals(number.text, number.total)
            )
        if share:
            raise UserError(
                f"{path}: line {number.line}: value {number.text} is a share of 1 among percentages: write "
                "it in percent; if it is a percentage, divide all values of the column by 100 and write the "
                "unit share"
            )


def _decimals(number: PrintedNumber) -> int:
    return len(number.text.partition(".")[2])
