"""Omni-generation: a picture, its depth map and its segmentation, drawn by a decoder from the VLM's states.

Asked for one of the three about a picture, the VLM makes hidden states; a diffusion decoder (decoder.py)
that sees nothing but these draws the answer, and its loss trains the VLM too. The picture that is drawn is
the one that was seen: what the states lose on their way through the language model, colour or place or shape,
cannot be drawn, so the loss asks the VLM to keep all of it. A caption as the request would leave the vision
encoder out, which a policy sees with.

The authors name no data set; here the scenes are random ones with depth and classes from the simulator.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.auxiliary.tasks.scenes import scenes
from vlm4vla.data.questions.statements import Picture

IMAGE, DEPTH, SEGMENTATION = MODALITIES = ("image", "depth", "segmentation")
REQUESTS = {
    IMAGE: "generate the picture",
    DEPTH: "generate the depth map",
    SEGMENTATION: "generate the segmentation map",
}


class OmniGeneration(Task):
    name = "omni-generation"
    dense = True

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        """Each with the three requests; the answer to a request is the name of its modality."""

        def ask(rng: np.random.Generator, picture: Picture) -> list[tuple[str, str]]:
            return [(request, modality) for modality, request in REQUESTS.items()]

        return scenes(self.name, ask, split, count, seed, image_size, dense=True)
