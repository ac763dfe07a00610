"""How every figure looks and is saved: one style, colour-blind safe, the same bytes for the same numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vlm4vla.core.artefacts import atomic_path

# Okabe and Ito's palette: told apart with every common colour blindness
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
SHEET = {
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
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "vlm4vla",
}
# files bear no date and no version, so that equal numbers give equal bytes
_METADATA = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


@contextlib.contextmanager
def panels(count: int, width: float, height: float, **options: object) -> Iterator[tuple[Figure, Sequence]]:
    """A figure of `count` panels side by side, `width` x `height` inches each, in the house style."""
    with plt.rc_context(SHEET):
        figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False, **options)
        try:
            yield figure, axes[0]
        finally:
            plt.close(figure)


@contextlib.contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of `width` x `height` inches in the house style, for what `panels` cannot lay out."""
    with plt.rc_context(SHEET):
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


def empty(axis: object, text: str = "not measured") -> None:
    """Say in the panel that it has no data."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=GREY)
