"""Question scores of the real backbones, which the paper does not print: a CSV that the user gives."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

from vlm4vla.core.errors import UserError, nearest
from vlm4vla.report.rows.paper_numbers import read_rows

KEY = "published_scores"  # of the configuration
LEAST = 4  # backbones that a correlation with an interval takes


def read_scores(path: Path, known: Collection[str]) -> dict[str, float]:
    """{model: score} of a CSV with the columns model and score, in any unit; higher is better.

    Raises UserError with one line for what is missing, no number, there twice or unknown.
    """
    if path.is_dir():
        raise UserError(f"{KEY}: {str(path)!r} is a folder: write a CSV file with the columns model,score")
    scores: dict[str, float] = {}
    try:
        rows = read_rows(path, {"model", "score"})
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file: write a CSV with the columns model,score") from None
    for row in rows:
        model = row["model"]
        if model not in known:
            raise UserError(f"{path}: unknown model {model!r}: {nearest(str(model), known)}")
        if model in scores:
            raise UserError(f"{path}: model {model!r} is there twice: write it once")
        try:
            scores[model] = float(row["score"])
        except (TypeError, ValueError):
            scores[model] = math.nan
        if not math.isfinite(scores[model]):
            raise UserError(f"{path}: score {row['score']!r} of {model!r} is no number: write one")
    if len(scores) < LEAST:
        raise UserError(f"{path}: {len(scores)} models have a score: write at least {LEAST}")
    return scores
