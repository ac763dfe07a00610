"""Question scores that others have published, in a CSV that the user writes."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path

from vlm4vla.config.capability import GivenScore, PublishedScores
from vlm4vla.core.errors import UserError, nearest
from vlm4vla.evaluation.capability.entries import mean

KEY = "capability.scores.file"
COLUMNS = ("model", "score", "set", "auxiliary", "questions", "standard_error")
NEEDED = COLUMNS[:2]
OVERALL, NONE = "overall", "none"
Scores = Mapping[tuple[str, str], Mapping[str, GivenScore]]


def read_published(given: PublishedScores, models: Collection[str], auxiliaries: Collection[str]) -> Scores:
    """{(model, auxiliary): {set or "overall": score in 0..1}} of a CSV; see `PublishedScores`.

    A row without a set is the overall score; a model whose rows all have one gets their mean. Raises
    UserError with one line for a file, column or number that is not there, a score that stands twice, and a
    model or an auxiliary task that the study has not.
    """
    found: dict[tuple[str, str], dict[str, GivenScore]] = {}
    for line, row in _rows(Path(given.file).expanduser()):
        where = f"{given.file}: line {line}"
        model, auxiliary = row["model"], row.get("auxiliary") or NONE
        for word, known, what in ((model, models, "model"), (auxiliary, auxiliaries, "auxiliary task")):
            if word not in known:
                raise UserError(f"{where}: unknown {what} {word!r}: {nearest(str(word), known)}")
        name = row.get("set") or OVERALL
        own = found.setdefault((model, auxiliary), {})
        if name in own:
            raise UserError(f"{where}: {model!r} has a second score of {name!r}: write each once")
        own[name] = _score(row, given.out_of, where)
    return {key: own if OVERALL in own else own | {OVERALL: mean(own.values())} for key, own in found.items()}


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> tuple[tuple[int, dict[str, str]], ...]:
    """Lines of a CSV and their numbers; `changed`: when, so that a new file is read anew."""
    try:
        with path.open(newline="") as handle:
            reader = csv.DictReader(handle)
            names = reader.fieldnames or []
            rows = tuple((reader.line_num, row) for row in reader)
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file: write a CSV with the columns model,score") from None
    for name in NEEDED:
        if name not in names:
            raise UserError(f"{path}: column {name!r} is missing: write it in the first line")
    for name in names:
        if name not in COLUMNS:
            raise UserError(f"{path}: unknown column {name!r}: {nearest(str(name), COLUMNS)}")
    if not rows:
        raise UserError(f"{path}: holds no score: write a line for each model")
    return rows


def _rows(path: Path) -> tuple[tuple[int, dict[str, str]], ...]:
    if not path.is_file():
        raise UserError(f"{KEY}: no file {str(path)!r}: write the path of a CSV with the columns model,score")
    return _read(path, path.stat().st_mtime_ns)


def _score(row: Mapping[str, str], out_of: float, where: str) -> GivenScore:
    score = _number(row, "score", where)
    error, asked = (
        _number(row, name, where) if row.get(name) else None for name in ("standard_error", "questions")
    )
    if score is None or not 0 <= score <= out_of:
        raise UserError(
            f"{where}: score {row['score']!r} is not from 0 to {out_of:g}: write one that is, or another "
            "capability.scores.out_of"
        )
    if error is not None and error < 0:
        raise UserError(
            f"{where}: standard_error {row['standard_error']!r} is below 0: write one that is not"
        )
    if asked is not None and (asked < 1 or asked != int(asked)):
        raise UserError(f"{where}: questions {row['questions']!r} is no whole number above 0: write one")
    return GivenScore(
        score=score / out_of,
        standard_error=None if error is None else error / out_of,
        questions=None if asked is None else int(asked),
    )


def _number(row: Mapping[str, str], name: str, where: str) -> float:
    try:
        number = float(row[name])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}: {name} {row[name]!r} is no number: write one")
    return number
