"""What a policy expects and returns, as policy.json says it: image size, camera, rate, units of the actions.

A policy that was saved by an earlier version has no such description. Then only the image size is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlm4vla.conventions.actions import ACTION_NAMES, POSE_SIZE
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.data.pictures.files import resize

TRANSLATION = 3  # columns of an action, before those of the rotation
ROTATION = POSE_SIZE - TRANSLATION


@dataclass(frozen=True)
class Interface:
    """The images that a policy was trained on, and the physical size of its actions.

    `image_size`: side of the square images in pixels. `camera`: the dataset's feature with the images.
    `rate`: actions per second (Hz). `units`: the metres of a motion of 1 and the radians of a rotation of 1.
    None means unknown.
    """

    image_size: int
    camera: str | None = None
    rate: float | None = None
    units: tuple[float, float] | None = None

    def fit(self, image: Any) -> np.ndarray:
        """Resize an image (H, W, 3) uint8 to the policy's size, as in training.

        Raises ValueError (one line) for another shape or type, with what to write instead.
        """
        if isinstance(image, Image.Image):
            if image.mode != "RGB":
                raise ValueError(
                    f"an image must be RGB, this Pillow image is {image.mode}: write image.convert('RGB')"
                )
            pixels = np.asarray(image)
        else:
            if hasattr(image, "detach"):  # a tensor, possibly on a GPU
                image = image.detach().cpu()
            try:
                pixels = np.asarray(image)
            except (TypeError, ValueError):
                raise ValueError(
                    f"an image must be an array (H, W, 3) uint8 or a Pillow image, not {type(image).__name__}"
                ) from None
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or 0 in pixels.shape:
            raise ValueError(
                f"an image must be (H, W, 3) uint8 in RGB, this one is {pixels.shape} {pixels.dtype}: "
                + _remedy(pixels)
            )
        return resize(pixels, self.image_size)

    def to_json(self, benchmark: str) -> dict[str, Any]:
        """JSON values for policy.json, with the gripper's two commands on `benchmark`."""
        gripper = facts(benchmark).gripper
        return {
            "image": {
                "height": self.image_size,
                "width": self.image_size,
                "channels": "RGB, uint8",
                "camera": self.camera,
            },
            "rate_hz": self.rate,
            "action": {
                "names": list(ACTION_NAMES),
                "units": ["m"] * TRANSLATION + ["rad"] * ROTATION + ["command"],
                # The size of 1 in these units; null if it is unknown.
                "scale": self._scale(),
                "motion": "relative to the present pose; roll, pitch and yaw are Euler angles",
                "gripper": {"open": gripper.open, "close": gripper.close} if gripper else None,
            },
        }

    def _scale(self) -> list[float] | None:
        if self.units is None:
            return None
        metres, radians = self.units
        return [metres] * TRANSLATION + [radians] * ROTATION + [1.0]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Interface:
        """The inverse of `to_json`."""
        image, scale = record["image"], record["action"]["scale"]
        units = (scale[0], scale[TRANSLATION]) if scale else None
        return cls(image["height"], image["camera"], record["rate_hz"], units)


def _remedy(pixels: np.ndarray) -> str:
    """What to write instead of an image of another shape or type."""
    shape = pixels.shape
    if 0 in shape:
        return "it has no pixels"
    if len(shape) == 4:
        return "pass one image, such as images[0], or use policy.predict for several"
    if len(shape) == 2:
        return "a grey image: write np.stack([image] * 3, axis=-1)"
    if len(shape) == 3 and shape[-1] == 4:
        return "it has a fourth channel (alpha): write image[..., :3]"
    if len(shape) == 3 and shape[-1] == 1:
        return "a grey image: write np.repeat(image, 3, axis=-1)"
    if len(shape) == 3 and shape[0] == 3 != shape[-1]:
        return "its channels come first: write np.moveaxis(image, 0, -1), for a tensor image.permute(1, 2, 0)"
    if len(shape) == 3 and shape[-1] == 3 and pixels.dtype.kind == "f":
        return "write (255 * image).round().astype(np.uint8) if 1 is white, and image.astype(np.uint8) if not"
    return "convert it, for example with Pillow's image.convert('RGB')"
