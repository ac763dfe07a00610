"""Pre-training in the configuration: the generated questions and what a tiny backbone learns of them."""

from __future__ import annotations

from typing import Literal

from vlm4vla.config.base import Name, Positive, Rate, Strict
from vlm4vla.config.capability import QuestionSet
from vlm4vla.config.training import Training


class Questions(Strict):
    """Generated question-answer pictures, for pre-training and capability."""

    train_pictures: Positive
    held_out_pictures: Positive
    seed: int = 0
    look: Literal["internet", "benchmark"] = "internet"  # internet: another camera, textures, objects


class Recipe(Strict):
    """What a family is pre-trained on. `mixture`: mean number of statements a picture from each set."""

    mixture: dict[QuestionSet, Rate]
    training: Training


class Aligning(Strict):
    """Contrastive training of the vision encoder with words: alone for `training`, then with `weight` beside
    the next-token loss."""

    weight: Rate
    training: Training


class Pretraining(Strict):
    alignment: Aligning | None = None  # one setting for all families
    recipes: dict[Name, Recipe]
    seed: int = 0
