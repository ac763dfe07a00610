"""pi0's image processor without torchvision.

transformers has the processor of pi0 for torchvision only. Its steps are those of transformers' own backend
for Pillow and NumPy: resize with the same proportions (bicubic), divide by 255, subtract the mean and divide
by the standard deviation, then pad on the right and at the bottom with zeros.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD, PILImageResampling


class PI0ImageProcessorPil(PilBackend):
    """The settings of transformers' PI0ImageProcessor; those in a folder's files come first."""

    resample = PILImageResampling.BICUBIC
    image_mean = IMAGENET_STANDARD_MEAN
    image_std = IMAGENET_STANDARD_STD
    size: ClassVar[dict[str, int]] = {"max_height": 224, "max_width": 224}
    default_to_square = False
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    image_seq_length = 256
    pad_size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    do_pad = True

    def pixels(self, images: np.ndarray | Tensor) -> Tensor:
        """Pixel values (B, 3, H, W) float32 of images (B, H, W, 3) uint8."""
        arrays: list[Any] = [np.asarray(image) for image in images]
        found = self(arrays, return_tensors="pt", input_data_format="channels_last")
        return found["pixel_values"].to(torch.float32)
