"""From the words TABLE ROW COLUMN to one number of a table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.report import names

ROW_KEYS = ("model", "auxiliary", "variant", "benchmark")
COLUMN_KEYS = ("benchmark", "metric", "question_set", "executed")
VALUE = "value"
NUMBERS = (
    VALUE,
    "ci_low",
    "ci_high",
    "published",
    "seed_sd",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
)
Row = Mapping[str, Any]


def find_number(table: str, rows: Sequence[Row], row: str, column: str) -> tuple[Row, str]:
    """The tidy row, and the name of the number in it, that `row` and `column` mean.

    `row`: model[/auxiliary][/variant][/benchmark], where words may be left out that do not matter. `column`:
    metric, question set, benchmark, executed steps or number (value when none is named), joined by colons.
    Raises UserError (one line) for a word that the table lacks, with the nearest, and for words that mean
    several rows.
    """
    chosen = list(rows)
    for place, word in enumerate(row.split("/")):
        keys = ("model",) if place == 0 else ROW_KEYS[1:]
        chosen = _matching(table, "row", row, chosen, word, keys)
    number = VALUE
    for word in column.split(":"):
        if word in NUMBERS:
            number = word
        else:
            chosen = _matching(table, "column", column, chosen, word, COLUMN_KEYS)
    chosen = _plain(chosen)
    if len(chosen) > 1:
        raise UserError(_ambiguous(table, chosen, row, column))
    if chosen[0].get(number) is None:
        have = [name for name in NUMBERS if chosen[0].get(name) is not None]
        told = f"it has {', '.join(have)}" if have else "it was not measured"
        raise UserError(f"table {table}, row {row!r}, column {column!r}: no {number}: {told}")
    return chosen[0], number


def _matching(
    table: str, what: str, whole: str, rows: Sequence[Row], word: str, keys: Sequence[str]
) -> list[Row]:
    """Rows in which one of `keys` is `word`, or is shown as `word`."""
    found = [row for row in rows if any(word in _words(row, key) for key in keys)]
    if found:
        return found
    # names as a reader sees them: `Kosmos-2`, `kosmos 2`
    wanted = _bare(word)
    found = [row for row in rows if any(wanted in map(_bare, _words(row, key)) for key in keys)]
    if found:
        return found
    known = sorted({str(row[key]) for row in rows for key in keys if row.get(key)})
    known += list(NUMBERS) if what == "column" else []
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.4)
    told = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known)}"
    inside = "" if word == whole else f" ({word!r} in it)"
    raise UserError(f"table {table}: no {what} {whole!r}{inside}: {told}")


def _words(row: Row, key: str) -> tuple[str, ...]:
    value = row.get(key)
    if not value:
        return ("none",) if key == "auxiliary" else ()
    shown = {"model": names.model, "auxiliary": names.auxiliary, "variant": names.variant}.get(key)
    return (value, shown(value)) if shown else (str(value),)


def _bare(word: str) -> str:
    return "".join(character for character in word.lower() if character.isalnum())


def _plain(rows: Sequence[Row]) -> list[Row]:
    """Without rows of single question sets when the overall ones are there too."""
    sets = {row.get("question_set") for row in rows}
    return [row for row in rows if row["question_set"] == "overall"] if "overall" in sets else list(rows)


def _ambiguous(table: str, rows: Sequence[Row], row: str, column: str) -> str:
    """Which words would tell the rows apart."""
    for key in (*ROW_KEYS, *COLUMN_KEYS[1:]):
        values = sorted({str(one.get(key) or "none") for one in rows})
        if len(values) > 1:
            if key in ROW_KEYS[:3]:
                fixes = [f"{row}/{value}" for value in values] if key != "model" else values
            else:
                fixes = [f"{value}:{column}" for value in values]
            return (
                f"table {table}, row {row!r}, column {column!r}: {len(rows)} cells: write "
                f"{' or '.join(fixes[:6])}"
            )
    return f"table {table}, row {row!r}, column {column!r}: {len(rows)} cells that nothing tells apart"
