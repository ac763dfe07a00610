"""The page of omni-generation: what a VLM's decoder generates for held-out scenes, next to the truth."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch

from vlm4vla.core.artefacts import atomic_path
from vlm4vla.core.errors import UserError
from vlm4vla.report.figures.style import STYLE, empty, panels, save

PAGE = "generated"  # stem of the page in the folder of a fine-tuned backbone
TITLES = ("image", "generated", "depth", "generated", "classes", "generated")


class GeneratedScene(NamedTuple):
    """One row of the page. Images and class colours are (H, W, 3) uint8, depth is (H, W) in metres."""

    image: np.ndarray
    generated_image: np.ndarray
    depth: np.ndarray
    generated_depth: np.ndarray
    classes: np.ndarray
    generated_classes: np.ndarray


def copy_generated(folders: Sequence[Path], vlm: str, output: Path) -> None:
    """Copy the page of a fine-tuned backbone to generated_{vlm} in the folder `output`.

    `folders`: the folders of fine-tuned backbones, or the provenance.json in them. If the backbone is not
    among them, the page says that it was not measured. Raises UserError if its folder has no page.
    """
    named = [path if path.is_dir() else path.parent for path in folders]
    found = [path for path in named if (path.parent.name, path.name) == (vlm, "omni-generation")]
    if not found:
        with panels(1, 6, 3) as (figure, axes):
            axes[0].set_axis_off()
            empty(axes[0], f"{vlm}, omni-generation: not measured")
            save(figure, output / f"{PAGE}_{vlm}")
        return
    folder = found[0]
    for suffix in (".pdf", ".png"):
        page = folder / f"{PAGE}{suffix}"
        if not page.is_file():
            raise UserError(f"{page}: no such file: delete the folder and fine-tune again")
        with atomic_path(output / f"{PAGE}_{vlm}{suffix}") as path:
            shutil.copyfile(page, path)


def draw_generated(
    scenes: Sequence[GeneratedScene],
    palette: Mapping[str, tuple[int, int, int]],
    limits: tuple[float, float],
    name: str,
    stem: Path,
) -> None:
    """Write the page of the VLM `name`, one row per scene, to `stem`.pdf and `stem`.png.

    All rows have the same depth scale: `limits`, the range that the decoder can generate (m).
    """
    low, high = limits
    columns = len(TITLES)
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, grid = plt.subplots(
            len(scenes), columns, figsize=(1.3 * columns + 0.9, 1.3 * len(scenes) + 1.0), squeeze=False
        )
        for row, scene in zip(grid, scenes, strict=True):
            for axis, pixels in zip(row, scene, strict=True):
                is_depth = pixels.ndim == 2
                scale = {"vmin": low, "vmax": high, "cmap": "viridis_r"} if is_depth else {}
                shown = axis.imshow(pixels, interpolation="nearest", **scale)
                if is_depth:
                    depth = shown
                axis.set_xticks([])
                axis.set_yticks([])
        for axis, title in zip(grid[0], TITLES, strict=True):
            axis.set_title(title)
        figure.suptitle(f"{name}, omni-generation: held-out scenes and generated images")
        figure.colorbar(depth, ax=grid[:, -1].tolist(), label="depth (m)", shrink=0.6)
        colours = [
            Patch(facecolor=[v / 255 for v in colour], edgecolor="black", linewidth=0.5, label=label)
            for label, colour in palette.items()
        ]
        figure.legend(handles=colours, loc="outside lower center", ncols=len(colours) // 2)
        save(figure, stem)
        plt.close(figure)
