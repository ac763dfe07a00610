"""Models and processors that cannot give a policy what it needs, whatever the adapter does."""

from __future__ import annotations

from typing import Any

from transformers.processing_utils import ProcessorMixin

from vlm4vla.core.errors import UserError

REASONS = {
    # With transformers 5.23, AutoModelForImageTextToText makes a model with new random weights of any folder.
    "shieldgemma2": "transformers reads its weights for its classifier of images only, whose answers are yes "
    "and no",
    "pi0": "it is a policy with an action expert, not a backbone: name it in `released_policies`",
    "pp_formulanet": "it reads an image only, and its processor takes no text",
    "vision-encoder-decoder": "its encoder reads an image only, and it has no processor of its own",
}


def check_model(config: Any, source: str) -> None:
    """Raise UserError, which begins with `source`, if a policy cannot use the model."""
    if config.model_type in REASONS:
        raise UserError(f"{source}: {REASONS[config.model_type]}")


def check_processor(kind: type[ProcessorMixin], source: str) -> None:
    """Raise UserError, which begins with `source`, if the processor does not fit an image and a text."""
    parts = kind.get_attributes()
    if "video_processor" in parts and "image_processor" not in parts:
        raise UserError(f"{source}: its processor reads videos, not images")
    if "qformer_tokenizer" in parts:
        # Images are read without their texts, once for all samples of a batch.
        raise UserError(
            f"{source}: its projector (a Q-Former) reads the instruction beside the image, with a tokenizer "
            "of its own, and the generic adapter gives the projector images only"
        )
