"""Omni-generation: an image, its depth map and its segmentation map, generated from the VLM's hidden states.

The VLM reads an image and a request for one of the three. A diffusion decoder (fine_tuning/decoder.py) sees
only the VLM's hidden states and generates the map; its loss trains the VLM too. The requested image is the
one that the VLM sees. The decoder cannot generate a colour, position or shape that the language model has
lost, so the loss teaches the VLM to keep all of them. If the request were a caption instead of an image, the
vision encoder, which a policy needs, would not be trained.

The authors name no dataset. Here the scenes are random, with depth and classes from the simulator.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.auxiliary.tasks.pictures import scenes
from vlm4vla.data.questions.statements import Picture

IMAGE, DEPTH, SEGMENTATION = MODALITIES = ("image", "depth", "segmentation")
REQUESTS = {
    IMAGE: "generate the picture",
    DEPTH: "generate the depth map",
    SEGMENTATION: "generate the segmentation map",
}


class OmniGeneration(AuxiliaryTask):
    name = "omni-generation"
    dense = True

    def pictures(self, split: str, count: int, seed: int, image_size: int) -> Iterator[Picture]:
        """Yield pictures with the three requests; the answer to a request is the name of its modality."""

        def ask(rng: np.random.Generator, picture: Picture) -> list[tuple[str, str]]:
            return [(request, modality) for modality, request in REQUESTS.items()]

        return scenes(self.name, ask, split, count, seed, image_size, dense=True)
