"""The user's question scores of the paper's backbones, which the paper does not print."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vlm4vla.core.csv_files import mixed_share, number, read_csv
from vlm4vla.core.errors import UserError, suggestion

SCORES_KEY = "published_scores"  # in the configuration
COLUMNS = ("model", "score")
LEAST_SCORES = 4  # backbones for a correlation with an interval


def read_scores(path: Path, known: Collection[str]) -> dict[str, float]:
    """The question score of each model in a CSV file with the columns model and score.

    Scores may have any unit, but only one; higher is better. Raises UserError (one line) for a missing or
    repeated score, a score that is not a number, a share of 1 among percentages, and a model that is not in
    `known`.
    """
    if path.is_dir():
        raise UserError(
            f"{SCORES_KEY}: {str(path)!r} is a folder: write a CSV file with the columns {','.join(COLUMNS)}"
        )
    scores: dict[str, float] = {}
    lines: dict[str, int] = {}
    for line, row in read_csv(path, COLUMNS):
        where, model = f"{path}: line {line}", row["model"]
        if model not in known:
            raise UserError(f"{where}: unknown model {model!r}: {suggestion(model, known)}")
        if model in scores:
            raise UserError(f"{where}: model {model!r} has two lines: write one line")
        try:
            scores[model] = number(row["score"])
        except ValueError as error:
            raise UserError(
                f"{where}: score {row['score']!r} of {model!r} is not a number: {error}"
            ) from None
        lines[model] = line
    if len(scores) < LEAST_SCORES:
        raise UserError(f"{path}: {len(scores)} models have a score: write at least {LEAST_SCORES}")
    _check_unit(path, scores, lines)
    return scores


def _check_unit(path: Path, scores: dict[str, float], lines: dict[str, int]) -> None:
    """Raise UserError if some scores are shares of 1 and others are percentages.

    Scores with a negative value are neither.
    """
    share = mixed_share(scores.values()) if min(scores.values()) >= 0 else None
    if share is not None:
        model = next(name for name, score in scores.items() if score == share)
        raise UserError(
            f"{path}: line {lines[model]}: score {share:g} of {model!r} is below 1, but other scores are up "
            f"to {max(scores.values()):g}: write all scores in the same unit; if it is right, divide every "
            "score by the largest possible score"
        )
