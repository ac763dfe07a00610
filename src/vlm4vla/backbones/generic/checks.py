"""Checks of a loaded model without an adapter of its own: what can be wrong without an error."""

from __future__ import annotations

import torch
from torch import Tensor

from vlm4vla.backbones.generic.layout import LONG, SHORT, random_images
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.core.errors import UserError

# Largest difference between a sample alone and in a padded batch, relative to the state's largest number.
TOLERANCES = {torch.float32: 1e-3}
OTHER_TOLERANCE = 0.1  # types with fewer bits, such as bfloat16


@torch.no_grad()
def check_states(backbone: LoadedBackbone, source: str) -> None:
    """Raise UserError, which begins with `source`, unless the query's state is what a policy needs.

    It has to depend on the image and on the text, and not on the padding or on other samples of the batch.
    """
    texts, images = [SHORT, SHORT, LONG], random_images(2, backbone.image_size)[[0, 1, 0]]
    width = backbone.word_embedding()(torch.tensor([backbone.end_id])).shape[-1]
    query = torch.linspace(-1, 1, width)

    def states(chosen: slice) -> Tensor:
        ids = [list(backbone.prompt_ids(text)) for text in texts[chosen]]
        return backbone.hidden(backbone.batch(ids, images[chosen]), query).float()

    was_training = backbone.model.training
    backbone.model.eval()
    try:
        together, alone = states(slice(None)), states(slice(0, 1))[0]
    finally:
        backbone.model.train(was_training)
    largest = alone.abs().max()
    dtype = next(backbone.model.parameters()).dtype
    fault = None
    if (together[0] - alone).abs().max() > TOLERANCES.get(dtype, OTHER_TOLERANCE) * largest:
        fault = "depends on the padding of the prompt"
    elif torch.equal(together[0], together[1]):
        fault = "does not depend on the image"
    elif torch.equal(together[0], together[2]):
        fault = "does not depend on the instruction"
    if fault is not None:
        raise UserError(
            f"{source}: with the generic adapter, the state of the action query {fault}: register a family "
            f"of your own for {backbone.adapter.family!r} (docs/your-own-study.md)"
        )
