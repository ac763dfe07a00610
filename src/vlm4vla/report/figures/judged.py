"""The numbers of a judged table with their intervals: one panel per column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.report.figures import style

ACROSS = 5  # panels side by side at most
TALLEST = 200.0  # inches; Matplotlib draws at most 65,536 pixels


def draw_judged(
    rows: Sequence[str],
    columns: Mapping[str, Sequence[tuple[str, float, tuple[float, float] | None, str]]],
    colours: Mapping[str, str],
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}.

    `columns`: for each title of a panel, its numbers: row, value, 95 % interval or None, and a label. The
    label, a key of `colours`, says what the number's comparison gave.
    """
    lines = max(1, math.ceil(len(columns) / ACROSS))
    across = max(1, math.ceil(len(columns) / lines))
    shown = style.wrapped(rows)
    height = min(1.3 + style.row_height(shown, 0.24) * len(rows), TALLEST / lines)
    with style.canvas(2.3 * across + style.label_width(shown), height * lines) as figure:
        axes = figure.subplots(lines, across, squeeze=False, sharey=True).flatten()
        for axis, (title, numbers) in zip(axes, columns.items(), strict=False):
            _panel(axis, rows, numbers, colours)
            axis.set_title(title)
        for axis in axes[len(columns) :]:
            axis.set_visible(False)
        axes[0].set_yticks(range(len(rows)), shown)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        style.shared_legend(figure, axes, columns=min(2, len(colours)))
        style.save(figure, stem)


def _panel(axis: Any, rows: Sequence[str], numbers: Sequence[Any], colours: Mapping[str, str]) -> None:
    for row, value, limits, label in numbers:
        y = rows.index(row)
        if limits is not None:
            axis.plot(limits, (y, y), color=colours[label], linewidth=1.2)
        axis.plot(
            [value],
            [y],
            "o",
            color=colours[label],
            markerfacecolor="white" if limits is None else colours[label],
            markersize=4,
            linestyle="none",
            label=label,
        )
        if value == 0:
            style.zero(axis, 0, y)
    axis.margins(x=0.1)
    axis.grid(axis="y", visible=False)
