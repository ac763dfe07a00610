"""Dense maps: the depth and the class of each pixel, stored in columns next to the images.

The column `depth` holds H * W little-endian float16 in metres along the camera's axis; at one metre this
rounds by half a millimetre. The column `segmentation` holds H * W uint8 class numbers. The file `dense.json`
next to the splits lists the classes in order with their colours, and the limits of depth in metres. Depth is
clipped to these limits and normalised by them. The limits exclude the floor, which is farther below the
table than the objects reach above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm4vla.core.artefacts import parse_json, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import TRAIN, gather_rows, pixels, read_table

DEPTH, SEGMENTATION = "depth", "segmentation"
FILE = "dense.json"
PERCENTILES = (1, 90)  # of the training split's depth; they become the limits
REFERENCE = 1000  # images from which the percentiles are computed
_FORMATS = {
    DEPTH: "height times width float16 (little-endian), in metres",
    SEGMENTATION: "height times width uint8, the class numbers in the order of dense.json's palette",
}


@dataclass(frozen=True)
class DenseMaps:
    """The maps of one split. `limits`: least and greatest depth (m); `palette`: RGB of each class, 0..255."""

    limits: tuple[float, float]
    palette: dict[str, tuple[int, int, int]]
    image_size: int
    depths: list[np.ndarray]  # memory-mapped chunks (n, H * W * 2) uint8
    segmentations: list[np.ndarray]  # memory-mapped chunks (n, H * W) uint8

    def depth(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return depth in metres, (len(ids), H, W) float32."""
        side = self.image_size
        return gather_rows(self.depths, ids).view("<f2").astype(np.float32).reshape(len(ids), side, side)

    def classes(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return class numbers, indices into `palette`, as (len(ids), H, W) uint8."""
        return gather_rows(self.segmentations, ids).reshape(len(ids), self.image_size, self.image_size)


def read_dense(folder: Path, split: str, image_size: int, task: str) -> DenseMaps:
    """Read the maps of one split. `task` is the task that needs them.

    Raises UserError if a column or dense.json is missing or invalid.
    """
    table = read_table(folder / split)
    columns = []
    for name, width in ((DEPTH, 2), (SEGMENTATION, 1)):
        if name not in table.column_names:
            raise UserError(
                f"{folder / split}: the column {name!r} is missing, and {task} needs it: write it next to "
                f"the images ({_FORMATS[name]})"
            )
        chunks = pixels(table[name])
        if {chunk.shape[1] for chunk in chunks} != {image_size**2 * width}:
            raise UserError(
                f"{folder / split}: the column {name!r} does not have the size of the images: write "
                f"{_FORMATS[name]}"
            )
        columns.append(chunks)
    try:
        record = parse_json((folder / FILE).read_text())
        near, far = map(float, record["depth_limits_m"])
        palette = {str(name): tuple(map(int, colour)) for name, colour in record["palette"].items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{folder / FILE}: depth_limits_m or palette is missing or invalid: write both, or generate the "
            "data again"
        ) from None
    if not near < far:
        raise UserError(f"{folder / FILE}: depth_limits_m [{near}, {far}]: write the smaller depth first")
    return DenseMaps((near, far), palette, image_size, *columns)


def write_dense(folder: Path, palette: Mapping[str, tuple[int, int, int]]) -> None:
    """Write dense.json for the splits in `folder`. The training split must be there already."""
    column = pixels(read_table(folder / TRAIN)[DEPTH])
    known = gather_rows(column, np.arange(min(REFERENCE, sum(map(len, column))))).view("<f2")
    limits = [round(float(end), 4) for end in np.percentile(known.astype(np.float32), PERCENTILES)]
    write_json(folder / FILE, {"depth_limits_m": limits, "palette": {k: list(v) for k, v in palette.items()}})
