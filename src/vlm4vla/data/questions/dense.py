"""What each pixel of a data set's pictures shows: depth and class, columns beside the picture.

`depth` holds H * W little-endian float16 in metres along the camera's axis (half a millimetre of rounding
at a metre), `segmentation` H * W uint8. `dense.json` beside the splits names the classes in their order, with
the colour of each, and the limits in metres between which depth is normalised and beyond which it is cut.
They leave out the floor, which is farther from the table than all that stands on it is high.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import TRAIN, pixels, read_table, take

DEPTH, SEGMENTATION = "depth", "segmentation"
FILE = "dense.json"
PERCENTILES = (1, 90)  # of the training split's depth: its limits
REFERENCE = 1000  # pictures that they are taken from


@dataclass(frozen=True)
class Dense:
    """One split's maps. `limits`: nearest and farthest (m); `palette`: each class's colour, 0..255."""

    limits: tuple[float, float]
    palette: dict[str, tuple[int, int, int]]
    image_size: int
    depths: list[np.ndarray]  # mapped pieces (n, H * W * 2) uint8
    segmentations: list[np.ndarray]  # mapped pieces (n, H * W) uint8

    def depth(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(len(ids), H, W) float32, metres."""
        side = self.image_size
        return take(self.depths, ids).view("<f2").astype(np.float32).reshape(len(ids), side, side)

    def classes(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(len(ids), H, W) uint8, places in `palette`."""
        return take(self.segmentations, ids).reshape(len(ids), self.image_size, self.image_size)


def read_dense(folder: Path, split: str, image_size: int, task: str) -> Dense:
    """The maps of one split for `task`. UserError when a column or dense.json is missing or wrong."""
    table = read_table(folder / split)
    columns = []
    for name, width in ((DEPTH, 2), (SEGMENTATION, 1)):
        if name not in table.column_names:
            raise UserError(
                f"{folder / split}: column {name!r} is missing, which {task} needs: write it beside the "
                f"pictures, {_FORM[name]}"
            )
        pieces = pixels(table[name])
        if {piece.shape[1] for piece in pieces} != {image_size**2 * width}:
            raise UserError(
                f"{folder / split}: column {name!r} is not of the pictures' size: write {_FORM[name]}"
            )
        columns.append(pieces)
    try:
        said = json.loads((folder / FILE).read_text())
        near, far = map(float, said["depth_limits_m"])
        palette = {str(name): tuple(map(int, colour)) for name, colour in said["palette"].items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{folder / FILE}: does not say depth_limits_m and palette: write both, or make the data again"
        ) from None
    if not near < far:
        raise UserError(f"{folder / FILE}: depth_limits_m [{near}, {far}]: write the nearer first")
    return Dense((near, far), palette, image_size, *columns)


_FORM = {
    DEPTH: "height times width float16 (little-endian), metres",
    SEGMENTATION: "height times width uint8, places in the palette of dense.json",
}


def write_dense(folder: Path, palette: Mapping[str, tuple[int, int, int]]) -> None:
    """Write dense.json for the splits below `folder`, whose training split is there."""
    column = pixels(read_table(folder / TRAIN)[DEPTH])
    known = take(column, np.arange(min(REFERENCE, sum(map(len, column))))).view("<f2")
    limits = [round(float(end), 4) for end in np.percentile(known.astype(np.float32), PERCENTILES)]
    write_json(folder / FILE, {"depth_limits_m": limits, "palette": {k: list(v) for k, v in palette.items()}})
