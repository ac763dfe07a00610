"""The style of all figures: colour-blind safe, and the same numbers give the same bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vlm4vla.core.artefacts import atomic_path

# The palette of Okabe and Ito, distinguishable with every common colour blindness.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#6B6B6B"
VARIANT_COLOURS = {"full": BLUE, "freeze-vision": VERMILION, "freeze-embedding": ORANGE, "scratch": GREY}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # keeps text as text
    "svg.hashsalt": "vlm4vla",
    "text.parse_math": False,  # names and task words may contain $
}
# Without dates and versions, so that the same numbers give the same bytes.
_METADATA = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


@contextlib.contextmanager
def panels(count: int, width: float, height: float, **options: object) -> Iterator[tuple[Figure, Sequence]]:
    """A figure of `count` panels side by side, `width` x `height` inches each, in the common style."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False, **options)
        try:
            yield figure, axes[0]
        finally:
            plt.close(figure)


@contextlib.contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of `width` x `height` inches in the common style, for other layouts than `panels`."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(width, height))
        try:
            yield figure
        finally:
            plt.close(figure)


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.pdf and `stem`.png, each atomically."""
    for suffix, metadata in _METADATA.items():
        with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as path:
            figure.savefig(path, format=suffix, metadata=metadata)


def shared_legend(figure: Figure, axes: Sequence, columns: int | None = None) -> None:
    """One legend under the panels, with each label once. `columns`: one per label by default."""
    handles: dict[str, object] = {}
    for axis in axes:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    if handles:
        ncols = columns or len(handles)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)


def empty(axis: object, text: str = "not measured") -> None:
    """Write in the panel that it has no data."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=GREY)
