"""How pictures of a data set are changed at random in training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vlm4vla.fields import Fraction, Strict

HalfTurn = Annotated[float, Field(ge=0, le=0.5)]


class Augmentation(Strict):
    """`crop`: share of the picture's area that a random window shows, resized to the whole.

    `brightness`: largest amount added, in shares of white. `contrast`, `saturation`: largest change of a
    factor around 1. `hue`: largest turn, 1 being the whole circle.
    """

    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: HalfTurn = 0.0
