"""A published table as a CSV file that anyone can write: one printed number a line. See docs/judge.md."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm4vla.analysis.chain_means import LENGTH
from vlm4vla.core.errors import UserError, suggestion

NEEDED = ("row", "column", "value", "unit")
OPTIONAL = ("trials", "seeds", "baseline")
PERCENT, SHARE, MEAN_LENGTH, SCORE = "percent", "share", "length", "score"
LIMITS = {PERCENT: 100.0, SHARE: 1.0, MEAN_LENGTH: float(LENGTH), SCORE: math.inf}
HEADINGS = ("title", "source", "date", "note")  # of the lines `# title: ...` before the header
MOST_TRIALS = 1_000_000
_NUMBER = re.compile(r"\d+(\.\d+)?")
_SIGNED = re.compile(r"-?\d+(\.\d+)?")
_BREAKS = re.compile(r"[|\x00-\x1f\x7f\u2028\u2029]")  # a name with these would break a table


@dataclass(frozen=True)
class PrintedNumber:
    """One printed number of a table.

    `text`: as printed. `trials`: rollouts of each training seed; None if the source does not state them.
    `seeds`: None if not stated. `baseline`: the row with which this row is compared; empty if none. `line`:
    of the file.
    """

    row: str
    column: str
    text: str
    unit: str
    trials: int | None
    seeds: int | None
    baseline: str
    line: int

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
    lines = _read_lines(path)
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
    for line, fields in _records(path, lines[start:], start):
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


def _read_lines(path: Path) -> list[str]:
    if path.is_dir():
        raise UserError(f"{path}: this is a folder: write the name of a CSV file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: write the name of a CSV file") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line}: not UTF-8 text: save the table as CSV in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): check the path and its rights") from None
    return io.StringIO(text, newline=None).readlines()


def _records(path: Path, lines: Sequence[str], skipped: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Each record as text by column, with the number of its first line. Empty lines are left out."""
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        line = skipped + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise UserError(
                f"{path}: line {line}: not CSV ({error}): check the quotes in this line"
            ) from None
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if header is None:
            header = _header(f"{path}: line {line}", cells)
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{path}: line {line}: {len(cells)} cells, but the header has {len(header)} columns: write "
                f"{','.join(header)}, with quotes around a cell that contains a comma"
            )
        yield line, dict(zip(header, cells, strict=True))
    if header is None:
        raise UserError(f"{path}: line {skipped + 1}: no header: write {','.join(NEEDED + OPTIONAL)}")


def _header(where: str, cells: Sequence[str]) -> list[str]:
    header = [cell.lower() for cell in cells]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise UserError(f"{where}: the columns are not separated by commas: save the table with commas")
    for index, name in enumerate(header):
        if name not in NEEDED + OPTIONAL:
            raise UserError(f"{where}: unknown column {name!r}: {suggestion(name, NEEDED + OPTIONAL)}")
        if name in header[:index]:
            raise UserError(f"{where}: column {name!r} occurs twice: write it once")
    for name in NEEDED:
        if name not in header:
            raise UserError(f"{where}: column {name!r} is missing: write {','.join(NEEDED + OPTIONAL)}")
    return header


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
        values = [float(number.text) for number in numbers if number.column == column]
        if one.unit == PERCENT and max(values) <= 1 and any(0 < value < 1 for value in values):
            raise UserError(
                f"{path}: line {one.line}: all values of {column!r} are at most 1 percent: write the unit "
                "share if 1 means all trials, or divide percentages by 100 and write share"
            )
