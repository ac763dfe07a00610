"""The style of all figures: colour-blind safe, and the same numbers give the same bytes."""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vlm4vla.core.artefacts import atomic_path
from vlm4vla.report.figures.fitting import fit

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
GREY, WHITE = "#505050", "#FFFFFF"  # far from the others with every common colour blindness, too
PALETTE = (BLACK, GREY, WHITE, VERMILION, ORANGE, GREEN, BLUE, YELLOW, PURPLE, SKY)
SERIES = (BLUE, VERMILION, ORANGE, GREEN, SKY, PURPLE, GREY)  # bars side by side
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
PUBLISHED = {  # the marker of a published value in every figure
    "marker": "D",
    "markersize": 5,
    "linestyle": "none",
    "markerfacecolor": "white",
    "markeredgecolor": VERMILION,
    "zorder": 3,
    "label": "published (real models, real benchmark)",
}
STAR = {"marker": (5, 2, 0), "markersize": 6, "linestyle": "none", "color": BLACK}  # a drawn asterisk
TESTED = "(paired test, Holm p < 0.05)"  # what a star says, in every legend
ACROSS = 3  # panels side by side at most
LABEL, LEGEND = 28, 64  # characters of a line in labels of rows, and in legends
LINE = 0.14  # inches of a line of text


@contextlib.contextmanager
def panels(
    count: int,
    width: float,
    height: float,
    across: int = ACROSS,
    labels: Sequence[str] = (),
    **options: object,
) -> Iterator[tuple[Figure, Sequence]]:
    """A figure of `count` panels, at most `across` side by side, `width` x `height` inches each.

    `labels`: those of the rows, for which the figure has room at its left.
    """
    lines = math.ceil(max(count, 1) / across)
    across = math.ceil(max(count, 1) / lines)
    with plt.rc_context(STYLE):
        size = (width * across + label_width(labels), height * lines)
        figure, axes = plt.subplots(lines, across, figsize=size, squeeze=False, **options)
        axes = axes.flatten()
        for axis in axes[max(count, 1) :]:
            axis.set_visible(False)
        try:
            yield figure, axes[: max(count, 1)]
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
    """Write `stem`.pdf and `stem`.png, each atomically. Titles that have no room are set in several lines."""
    fit(figure)
    for suffix, metadata in _METADATA.items():
        with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as path:
            figure.savefig(path, format=suffix, metadata=metadata)


def wrapped(labels: Sequence[str], width: int = LABEL) -> list[str]:
    """`labels` in lines of at most `width` characters."""
    return [textwrap.fill(label, width) for label in labels]


def row_height(labels: Sequence[str], one: float) -> float:
    """The inches of a row for the longest of `labels`, which are `wrapped`; `one`: for a single line."""
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    return max(one, LINE * lines + 0.08)


def label_width(labels: Sequence[str], size: float = 9) -> float:
    """About the inches that the longest line of `labels` takes at `size` points."""
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    return 0.62 * size / 72 * longest


def shared_legend(
    figure: Figure, axes: Sequence, columns: int | None = None, key: Sequence[str] = ()
) -> None:
    """One legend under the panels, with each label once.

    `columns`: one per label by default, fewer if the figure has no room for them. The figure becomes taller
    for a legend of several lines. `key`: further lines, for the numbers that stand for names.
    """
    handles: dict[str, Any] = {}
    for axis in axes:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    handles |= {line: Line2D([], [], linestyle="none") for line in key}
    if not handles:
        return
    renderer = figure.canvas.get_renderer()
    labels = wrapped(list(handles), LEGEND)
    for number in range(min(columns or len(handles), len(handles)), 0, -1):
        legend = figure.legend(handles.values(), labels, loc="outside lower center", ncols=number)
        box = legend.get_window_extent(renderer)
        if box.width <= 0.98 * figure.bbox.width or number == 1:
            break
        legend.remove()
    inches = box.height / figure.dpi
    figure.set_figheight(figure.get_figheight() + max(0.0, inches - 0.45))


def numbered(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Numbers that stand for `labels`, and the lines of a key for `shared_legend`."""
    return [str(place) for place in range(1, len(labels) + 1)], [
        f"{place} = {label}" for place, label in enumerate(labels, 1)
    ]


def zero(axis: Any, x: float, y: float) -> None:
    """Write 0 at the left of a mark at (`x`, `y`) of a horizontal panel."""
    axis.annotate(
        "0", (x, y), xytext=(-5, 0), textcoords="offset points", ha="right", va="center", fontsize=7
    )


def empty(axis: object, text: str = "not measured") -> None:
    """Write in the panel that it has no data."""
    lines = textwrap.fill(text, LABEL)
    axis.text(0.5, 0.5, lines, transform=axis.transAxes, ha="center", va="center", color=GREY)
