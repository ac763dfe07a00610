"""What the tables' words mean: margins that are chosen before the results are known."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vlm4vla.config.base import Strict

Share = Annotated[float, Field(gt=0, lt=1)]


class Margins(Strict):
    """The sizes at which a difference, a correlation or a loss gets its word (docs/statistics.md).

    They belong to the design of a study: choose them before the first rollout.
    """

    margin: Share = Field(
        0.05,
        description="Two policies are equivalent if the 95 % interval of their difference lies within this "
        "share of the benchmark's maximum on both sides of 0 (0.05: 5 points of success, 0.25 of an average "
        "length from 0 to 5).",
    )
    correlation_margin: Share = Field(
        0.5,
        description="A correlation is weak if its whole 95 % interval lies within this value on both sides "
        "of 0.",
    )
    collapse: Share = Field(
        0.5,
        description="A policy collapses if the 95 % interval of its share of the full policy's score lies "
        "below this share.",
    )
