"""Find the number of a table that the words TABLE ROW COLUMN of the command line mean."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.study.results_folder import NUMBERS

ROW_KEYS = ("model", "auxiliary", "variant", "benchmark")
COLUMN_KEYS = ("benchmark", "other_benchmark", "other_study", "metric", "question_set", "executed")
VALUE = "value"
Row = Mapping[str, Any]


def find_number(table: str, rows: Sequence[Row], row: str, column: str) -> tuple[Row, str]:
    """The tidy row and the name of the number in it that `row` and `column` mean.

    `row`: model[/auxiliary][/variant][/benchmark]; words that are not needed can be omitted. `column`: any of
    metric, question set, benchmark, execution horizon and name of a number, joined by colons. The default
    number is `value`. Raises UserError (one line) for a word that is not in the table, with suggestions, and
    for words that match several rows.
    """
    chosen = list(rows)
    for index, word in enumerate(row.split("/")):
        keys = ("model",) if index == 0 else ROW_KEYS[1:]
        chosen = _matching(table, "row", row, chosen, word, keys)
    number = VALUE
    for word in column.split(":"):
        if word in NUMBERS:
            number = word
        else:
            chosen = _matching(table, "column", column, chosen, word, COLUMN_KEYS)
    chosen = _prefer_overall(chosen)
    if len(chosen) > 1:
        raise UserError(_ambiguous(table, chosen, row, column))
    if chosen[0].get(number) is None:
        existing = [name for name in NUMBERS if chosen[0].get(name) is not None]
        remedy = f"write one of {', '.join(existing)}" if existing else "the cell was not measured"
        raise UserError(f"table {table}, row {row!r}, column {column!r}: has no {number}: {remedy}")
    return chosen[0], number


def _matching(
    table: str, part: str, words: str, rows: Sequence[Row], word: str, keys: Sequence[str]
) -> list[Row]:
    """Rows in which one of `keys` has the value `word`, or a value that tables show as `word`.

    `part` is "row" or "column", and `words` all words of this part; both are for the message.
    """
    found = [row for row in rows if any(word in _words(row, key) for key in keys)]
    if found:
        return found
    # Names as the tables show them, in any spelling: `Kosmos-2`, `kosmos 2`.
    simple = _simplify(word)
    found = [row for row in rows if any(simple in map(_simplify, _words(row, key)) for key in keys)]
    if found:
        return found
    known = sorted({str(row[key]) for row in rows for key in keys if row.get(key)})
    known += list(NUMBERS) if part == "column" else []
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.4)
    remedy = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
    inside = "" if word == words else f" ({word!r} is unknown)"
    raise UserError(f"table {table}: no {part} {words!r}{inside}: {remedy}")


def _words(row: Row, key: str) -> tuple[str, ...]:
    """The words that stand for the value of `key`."""
    value = row.get(key)
    if not value:
        return ("none",) if key == "auxiliary" else ()
    shown = {"model": names.model, "auxiliary": names.auxiliary, "variant": names.variant}.get(key)
    return (value, shown(value)) if shown else (str(value),)


def _simplify(word: str) -> str:
    return "".join(character for character in word.lower() if character.isalnum())


def _prefer_overall(rows: Sequence[Row]) -> list[Row]:
    """Drop the rows of single question sets if there are rows over all question sets."""
    sets = {row.get("question_set") for row in rows}
    return [row for row in rows if row["question_set"] == "overall"] if "overall" in sets else list(rows)


def _ambiguous(table: str, rows: Sequence[Row], row: str, column: str) -> str:
    """The message for several rows: words that select one of them."""
    for key in (*ROW_KEYS, *COLUMN_KEYS[1:]):
        values = sorted({str(each.get(key) or "none") for each in rows})
        if len(values) > 1:
            if key in ROW_KEYS[:3]:
                fixes = [f"{row}/{value}" for value in values] if key != "model" else values
            else:
                fixes = [f"{value}:{column}" for value in values]
            return (
                f"table {table}, row {row!r}, column {column!r}: {len(rows)} cells match: write "
                f"{' or '.join(fixes[:6])}"
            )
    return f"table {table}, row {row!r}, column {column!r}: {len(rows)} cells match, and no word selects one"
