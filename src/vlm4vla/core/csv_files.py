"""CSV files that users write, read strictly: each error is one line that names the file and the line."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from vlm4vla.core.errors import UserError, suggestion

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST = 40  # characters of a number
_COMMA = re.compile(r"[+-]?\d+(,\d+)+", re.ASCII)
_MARKED = re.compile(r"([+-]?\d*\.?\d+)\s*[^\d\s.,_].*", re.ASCII)


def read_csv(
    path: Path, needed: Sequence[str], optional: Sequence[str] | None = ()
) -> list[tuple[int, dict[str, str]]]:
    """(line number, cells by column) of each record of the CSV file `path`. Cells have no spaces around them.

    The first line names the columns: those of `needed`, and any of `optional` (None: of any name). A byte
    order mark, which spreadsheets write, and empty lines are left out. Raises UserError for a file that
    cannot be used.
    """
    return list(records(path, read_lines(path), 0, needed, optional))


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8, without a byte order mark. Raises UserError."""
    if path.is_dir():
        raise UserError(f"{path}: this is a folder: write the name of a CSV file")
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: write the name of a CSV file") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line}: not UTF-8 text: save the table as CSV in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): check the path and its rights") from None
    return io.StringIO(text, newline=None).readlines()


def records(
    path: Path,
    lines: Sequence[str],
    skipped: int,
    needed: Sequence[str],
    optional: Sequence[str] | None = (),
) -> Iterator[tuple[int, dict[str, str]]]:
    """`read_csv` of `lines`, before which the file has `skipped` other lines.

    The line number of a record is that of its first line.
    """
    reader = csv.reader(lines, strict=True)
    columns = ",".join([*needed, *(optional or ())])
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
            header = _header(f"{path}: line {line}", cells, needed, optional)
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{path}: line {line}: {len(cells)} cells, but the header has {len(header)} columns: write "
                f"{','.join(header)}, with quotes around a cell that contains a comma, and a point, not a "
                "comma, before decimals"
            )
        yield line, dict(zip(header, cells, strict=True))
    if header is None:
        raise UserError(f"{path}: line {skipped + 1}: no header: write {columns}")


def _header(
    where: str, cells: Sequence[str], needed: Sequence[str], optional: Sequence[str] | None
) -> list[str]:
    header = [cell.lower() for cell in cells]
    every = [*needed, *(optional or ())]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise UserError(f"{where}: the columns are not separated by commas: save the table with commas")
    for index, name in enumerate(header):
        if not name.isprintable():
            raise UserError(f"{where}: column {name[:60]!r}: write its name without special characters")
        if optional is not None and name not in every:
            raise UserError(f"{where}: unknown column {name!r}: {suggestion(name, every)}")
        if name in header[:index]:
            raise UserError(f"{where}: column {name!r} occurs twice: write it once")
    for name in needed:
        if name not in header:
            raise UserError(f"{where}: column {name!r} is missing: write {','.join(every)}")
    return header


def number(text: str) -> float:
    """The finite decimal number `text`, in ASCII digits. Raises ValueError that says what to write instead.

    Marks, units and thousands separators are not guessed away: a wrong guess is a wrong number.
    """
    if _NUMBER.fullmatch(text):
        if len(text) <= _LONGEST and math.isfinite(float(text)):
            return float(text)
        raise ValueError("write a number that is not as large or as long")
    if not text:
        raise ValueError("write a number, or remove the line")
    if _COMMA.fullmatch(text):
        raise ValueError("write decimals with a point, and no separator of thousands")
    if marked := _MARKED.fullmatch(text):
        raise ValueError(f"write the number alone, such as {marked[1]}, without a mark or a unit")
    raise ValueError("write a number with a decimal point")


def mixed_share(values: Collection[float]) -> float | None:
    """A value that is probably a share of 1 among percentages; None if there is none.

    That is a value between 0 and 1 although another value is above 1. A percentage below 1 looks the same, so
    the caller must leave a way to write it.
    """
    shares = [value for value in values if 0 < value < 1]
    return min(shares) if shares and max(values) > 1 else None
