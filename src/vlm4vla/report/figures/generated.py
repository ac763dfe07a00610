"""The page of omni-generation: what a VLM's decoder generates for held-out scenes, next to the truth."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba_array
from matplotlib.patches import Patch

from vlm4vla.core.artefacts import atomic_path
from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.report.figures.style import PALETTE, STYLE, empty, panels, save

PAGE = "generated"  # stem of the page in the folder of a fine-tuned backbone
TASK = "omni-generation"
MODALITIES = ("image", "image", "depth", "depth", "classes", "classes")
TITLES = ("image", "generated", "depth", "generated", "classes", "generated")


class GeneratedScene(NamedTuple):
    """One row of the page: images (H, W, 3) uint8, depth (H, W) in metres, class numbers (H, W)."""

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
    found = [path for path in named if (path.parent.name, path.name) == (vlm, TASK)]
    if not found:
        with panels(1, 6, 3) as (figure, axes):
            axes[0].set_axis_off()
            empty(axes[0], f"{names.model(vlm)}, {names.auxiliary(TASK)}: not measured")
            save(figure, output / f"{PAGE}_{vlm}")
        return
    folder = found[0]
    for suffix in (".pdf", ".png"):
        page = folder / f"{PAGE}{suffix}"
        if not page.is_file():
            raise UserError(f"{page}: no such file: delete the folder and fine-tune again")
        with atomic_path(output / f"{PAGE}_{vlm}{suffix}") as path:
            shutil.copyfile(page, path)


def class_colours(count: int) -> np.ndarray:
    """The colours (count, 3) uint8 in which masks are drawn: those of Okabe and Ito, with grey and white.

    With more classes than these ten, they are steps of cividis, which keeps its order for colour-blind
    readers.
    """
    if count <= len(PALETTE):
        return np.round(255 * to_rgba_array(PALETTE[:count])[:, :3]).astype(np.uint8)
    return np.round(255 * plt.get_cmap("cividis")(np.linspace(0, 1, count))[:, :3]).astype(np.uint8)


def draw_generated(
    scenes: Sequence[GeneratedScene],
    classes: Sequence[str],
    limits: tuple[float, float],
    name: str,
    stem: Path,
) -> None:
    """Write the page of the VLM `name`, one row per scene, to `stem`.pdf and `stem`.png.

    `classes`: the names of the classes by their numbers. Their colours are those of `class_colours`, not the
    ones that the decoder generates, which are far apart in RGB but not for colour-blind readers. All rows
    have the same depth scale: `limits`, the range that the decoder can generate (m).
    """
    palette = class_colours(len(classes))
    low, high = limits
    columns = len(TITLES)
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, grid = plt.subplots(
            len(scenes), columns, figsize=(1.3 * columns + 0.9, 1.3 * len(scenes) + 1.0), squeeze=False
        )
        for row, scene in zip(grid, scenes, strict=True):
            for axis, modality, values in zip(row, MODALITIES, scene, strict=True):
                is_depth = modality == "depth"
                pixels = palette[values] if modality == "classes" else values
                scale = {"vmin": low, "vmax": high, "cmap": "viridis_r"} if is_depth else {}
                shown = axis.imshow(pixels, interpolation="nearest", **scale)
                if is_depth:
                    depth = shown
                axis.set_xticks([])
                axis.set_yticks([])
        for axis, title in zip(grid[0], TITLES, strict=True):
            axis.set_title(title)
        figure.suptitle(f"{names.model(name)}, {names.auxiliary(TASK)}: held-out scenes and generated images")
        figure.colorbar(depth, ax=grid[:, -1].tolist(), label="depth (m)", shrink=0.6)
        colours = [
            Patch(facecolor=colour / 255, edgecolor="black", linewidth=0.5, label=names.words(label))
            for label, colour in zip(classes, palette, strict=True)
        ]
        ncols = max(1, min(5, math.ceil(len(colours) / 2)))
        figure.legend(handles=colours, loc="outside lower center", ncols=ncols)
        save(figure, stem)
        plt.close(figure)
