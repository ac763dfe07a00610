"""Published question scores, which the user writes into a CSV file, and the mean of several scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlm4vla.config.capability import PublishedScores, QuestionScore
from vlm4vla.core.csv_files import mixed_share, number, read_csv
from vlm4vla.core.errors import UserError, suggestion

KEY = "capability.scores.file"
COLUMNS = ("model", "score", "set", "auxiliary", "questions", "standard_error")
NEEDED = COLUMNS[:2]
MOST_QUESTIONS = 1_000_000  # of one set
OVERALL, NONE = "overall", "none"
Scores = Mapping[tuple[str, str], Mapping[str, QuestionScore]]


def read_published(given: PublishedScores, models: Collection[str], auxiliaries: Collection[str]) -> Scores:
    """Read {(model, auxiliary task): {set or "overall": score from 0 to 1}} from a CSV file.

    `PublishedScores` describes the columns. A row without a set is the overall score. If no row of a model is
    an overall score, the mean of its sets is. Raises UserError for a missing file, column or number, a
    duplicate score, a model or an auxiliary task that the study does not have, scores that are shares of 1
    although `out_of` is at least 100, and means over different sets.
    """
    found: dict[tuple[str, str], dict[str, QuestionScore]] = {}
    by_set: dict[str, dict[float, str]] = {}
    for line, row in _rows(Path(given.file).expanduser()):
        where = f"{given.file}: line {line}"
        model, auxiliary = row["model"], row.get("auxiliary") or NONE
        for word, known, what in ((model, models, "model"), (auxiliary, auxiliaries, "auxiliary task")):
            if word not in known:
                raise UserError(f"{where}: unknown {what} {word!r}: {suggestion(str(word), known)}")
        name = row.get("set") or OVERALL
        if not name.isprintable():
            raise UserError(f"{where}: set {name!r}: write its name in one line, without special characters")
        own = found.setdefault((model, auxiliary), {})
        if name in own:
            raise UserError(f"{where}: duplicate score of {model!r} for {name!r}: write it once")
        own[name] = _score(row, given.out_of, where)
        by_set.setdefault(name, {})[number(row["score"])] = f"{where}: score {row['score']!r} of {model!r}"
    _check_unit(by_set.values(), given)
    _check_sets(found, given.file)
    return {
        key: own if OVERALL in own else own | {OVERALL: mean_score(own.values())}
        for key, own in found.items()
    }


def _check_unit(by_set: Collection[Mapping[float, str]], given: PublishedScores) -> None:
    """Raise UserError if scores are shares of 1 although `out_of` is at least 100.

    `by_set`: for each set, its scores as written, and the line of each.
    """
    if given.out_of < 100:
        return
    values = [value for own in by_set for value in own]
    if max(values) <= 1 and any(0 < value < 1 for value in values):
        raise UserError(
            f"{given.file}: every score is at most 1, but capability.scores.out_of is {given.out_of:g}: "
            "write `out_of: 1`, or write percentages"
        )
    for own in by_set:
        share = mixed_share(own)
        if share is not None:
            raise UserError(
                f"{own[share]} is below 1, but other scores are up to {max(own):g}, out of "
                f"{given.out_of:g}: write all scores in the same unit; if it is right, write every score as "
                "a share of 1, and `out_of: 1`"
            )


def _check_sets(found: Scores, file: str) -> None:
    """Raise UserError if the means over sets that are compared are not means over the same sets."""
    averaged = {vlm: set(own) for vlm, own in found.items() if OVERALL not in own}
    every = set().union(*averaged.values()) if averaged else set()
    for vlm, own in averaged.items():
        if own != every:
            name = vlm[0] if vlm[1] == NONE else "/".join(vlm)
            raise UserError(
                f"{file}: {name} has no score for {', '.join(map(repr, sorted(every - own)))}, so its mean "
                "is not over the same sets as the other means: add the score, remove the set, or write a "
                "line without a set, which is the overall score"
            )


def mean_score(scores: Collection[QuestionScore]) -> QuestionScore:
    """The mean of the scores of several question sets. Each set has the same weight, whatever its size.

    The sets are independent, so the variance of the mean is the sum of their variances over n². The mean has
    a standard error only if every set has one, and a number of questions only if every set has one. Raises
    ValueError if `scores` is empty.
    """
    if not scores:
        raise ValueError("no scores")
    errors = [each.standard_error for each in scores]
    counts = [each.questions for each in scores]
    return QuestionScore(
        score=math.fsum(each.score for each in scores) / len(scores),
        standard_error=None if None in errors else math.hypot(*errors) / len(scores),
        questions=None if None in counts else sum(counts),
    )


def score_json(score: QuestionScore) -> dict[str, Any]:
    """The JSON form of a score in results/capability."""
    return score.model_dump(mode="json")


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> tuple[tuple[int, dict[str, str]], ...]:
    """(line number, row) of each row of a CSV file. `changed`: the file's time stamp, for the cache's key."""
    rows = tuple(read_csv(path, NEEDED, COLUMNS[len(NEEDED) :]))
    if not rows:
        raise UserError(f"{path}: no scores: write a line for each model")
    return rows


def _rows(path: Path) -> tuple[tuple[int, dict[str, str]], ...]:
    if not path.is_file():
        raise UserError(
            f"{KEY}: file {str(path)!r} does not exist: write the path of a CSV file with the columns "
            "model,score"
        )
    return _read(path, path.stat().st_mtime_ns)


def _score(row: Mapping[str, str], out_of: float, where: str) -> QuestionScore:
    score = _number(row, "score", where)
    error, questions = (
        _number(row, name, where) if row.get(name) else None for name in ("standard_error", "questions")
    )
    if not 0 <= score <= out_of:
        raise UserError(
            f"{where}: score {row['score']!r} is not between 0 and {out_of:g}: correct it, or set "
            "capability.scores.out_of to the largest possible score"
        )
    if error is not None and not 0 <= error <= out_of:
        sign = "negative" if error < 0 else f"above {out_of:g}"
        raise UserError(
            f"{where}: standard_error {row['standard_error']!r} is {sign}: write a number from 0 up, in the "
            "unit of the score"
        )
    if questions is not None and (not 1 <= questions <= MOST_QUESTIONS or questions != int(questions)):
        raise UserError(
            f"{where}: questions {row['questions']!r} is not a whole number from 1 to {MOST_QUESTIONS:,}: "
            "write one"
        )
    return QuestionScore(
        score=score / out_of,
        standard_error=None if error is None else error / out_of,
        questions=None if questions is None else int(questions),
    )


def _number(row: Mapping[str, str], name: str, where: str) -> float:
    try:
        return number(row[name])
    except ValueError as error:
        raise UserError(f"{where}: {name} {row[name]!r} is not a number: {error}") from None
