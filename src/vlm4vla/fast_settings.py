"""FAST tokens in the configuration: how a benchmark's actions become words that a VLM learns to say."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from vlm4vla.fields import Positive, Rate, Strict
from vlm4vla.known_names import Benchmark
from vlm4vla.training_settings import Training

FastName = Literal["fast-freeze-vision", "fast-unfreeze-vision"]


class FastTokens(Strict):
    """FAST tokens of a benchmark's demonstrations, which a VLM learns to say.

    They are fitted on the demonstrations with `vocabulary` and `scale`. With `tokenizer`, a local folder of
    the published universal tokenizer, nothing is fitted; it has its own vocabulary and scale, and the two
    keys, which a configuration layer cannot take away, are not read.
    """

    benchmark: Benchmark
    vocabulary: Positive | None = None  # most tokens that there may be
    scale: Rate | None = None  # normalised cosine coefficients are rounded to multiples of 1 / scale
    tokenizer: str | None = None  # folder with tokenizer.json and processor_config.json
    pictures: Positive  # of training, and of held-out episodes, at most
    training: Training | None = None  # replaces the shared one
    seed: int = 0

    @model_validator(mode="after")
    def _one_source(self) -> FastTokens:
        for key in ("vocabulary", "scale") if self.tokenizer is None else ():
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing: write it, or `tokenizer: <folder>` of a fitted one")
        return self
