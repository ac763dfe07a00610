"""A question score as it stands in capability/*.json, where it is not counted from answers of our own."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from vlm4vla.config.capability import GivenScore


def mean(scores: Collection[GivenScore]) -> GivenScore:
    """The mean of sets, each with the same weight whatever its size.

    Standard errors of independent sets add in squares; one that nobody says leaves the mean's unsaid, and so
    does a missing number of questions. Raises ValueError for no scores.
    """
    if not scores:
        raise ValueError("no scores")
    errors = [each.standard_error for each in scores]
    counts = [each.questions for each in scores]
    return GivenScore(
        score=math.fsum(each.score for each in scores) / len(scores),
        standard_error=None if None in errors else math.hypot(*errors) / len(scores),
        questions=None if None in counts else sum(counts),
    )


def entry(score: GivenScore) -> dict[str, Any]:
    """What the JSON file holds of a score."""
    return score.model_dump(mode="json")
