"""The computed image size against the image processors themselves."""

import numpy as np
import pytest
from shrunk_backbones import image_processor

from vlm4vla.backbones.image_size import processed_side
from vlm4vla.workflow.estimate.published_configs import published_configs


@pytest.mark.parametrize("hub", published_configs())
@pytest.mark.parametrize("side", [64, 200, 224, 256, 500])
def test_size_matches_the_released_processor(hub, side):
    published = published_configs()[hub]
    vision = published.config["vision_config"]
    image = np.zeros((side, side, 3), dtype=np.uint8)
    made = image_processor(published)(images=[image], return_tensors="pt")
    if "image_grid_thw" in made:
        rows, columns = made["image_grid_thw"][0, 1:].tolist()
        assert rows == columns
        factor = vision["patch_size"] * vision["spatial_merge_size"]
        assert processed_side(published.processor, factor, side) == rows * vision["patch_size"]
    else:
        assert tuple(made["pixel_values"].shape[-2:]) == (processed_side(published.processor, 1, side),) * 2


def test_large_images_are_reduced():
    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16}
    assert processed_side(size, 28, 224) == 112
