"""Success by task as a heat map: one row per policy, one column per task of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.report import names
from vlm4vla.report.figures import style

COLOUR_MAP = "Blues"  # one hue from light to dark keeps its order in print without colour
FEW = 5  # With fewer attempts a share says little, so its number is printed in italics.


def draw_tasks(
    attempts: Mapping[str, pd.DataFrame],
    labels: Mapping[tuple[str, str], str],
    benchmarks: Sequence[str],
    scale: str,
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: one panel per benchmark, one under the other.

    `attempts`: the result of `attempts_by_task` by benchmark. `labels`: the names of the policies to show.
    """
    most = max([len(set(table["task"])) for table in attempts.values()] or [1])
    shown_labels = dict(zip(labels, style.wrapped(list(labels.values())), strict=True))
    # Heights in inches
    grid, text = style.row_height(list(shown_labels.values()), 0.25) * len(labels), 1.75
    width = max(5.2, 0.42 * most) + 0.6 + style.label_width(list(shown_labels.values()), 7.5)
    with style.canvas(width, len(benchmarks) * (grid + text)) as figure:
        axes = figure.subplots(len(benchmarks), 1, squeeze=False)[:, 0]
        shown = None
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            table = attempts.get(benchmark)
            axis.set_title(f"{names.benchmark(benchmark, scale)}: solved when tried, %", loc="left")
            axis.grid(False)
            if table is None or table.empty:
                axis.set_axis_off()
                style.empty(axis)
                continue
            shown = _panel(axis, table, shown_labels)
        if shown is not None:
            figure.colorbar(shown, ax=list(axes), label="solved when tried, %", shrink=0.4, pad=0.01)
        style.save(figure, stem)


def _panel(axis: Any, table: pd.DataFrame, labels: Mapping[tuple[str, str], str]) -> Any:
    total = table.groupby("task")[["tried", "solved"]].sum()
    # Tasks from the easiest to the hardest, over all policies together.
    share = (total["solved"] / total["tried"]).sort_values(ascending=False, kind="stable")
    tasks = list(share.index)
    by_cell = table.set_index(["model", "variant", "task"])
    middle = {"ha": "center", "va": "center"}
    values = np.full((len(labels), len(tasks)), np.nan)
    for row, policy in enumerate(labels):
        for column, task in enumerate(tasks):
            if (*policy, task) not in by_cell.index:
                note = axis.text(column, row, "\N{EN DASH}", fontsize=6, color=style.GREY, **middle)
                note.set_in_layout(False)
                continue
            tried, solved = by_cell.loc[(*policy, task), ["tried", "solved"]]
            values[row, column] = 100 * solved / tried
            note = axis.text(
                column,
                row,
                f"{values[row, column]:.0f}",
                **middle,
                fontsize=6.5,
                fontstyle="italic" if tried < FEW else "normal",
                color="white" if values[row, column] > 55 else "black",
            )
            note.set_in_layout(False)  # the layout of some thousand texts takes long
    shown = axis.imshow(values, cmap=COLOUR_MAP, vmin=0, vmax=100, aspect="auto")
    axis.set_yticks(range(len(labels)), list(labels.values()), fontsize=7.5)
    rotated = len(tasks) > 5
    axis.set_xticks(
        range(len(tasks)),
        style.wrapped([names.words(task) for task in tasks], 60 if rotated else 18),
        fontsize=7,
        rotation=35 if rotated else 0,
        ha="right" if rotated else "center",
        rotation_mode="anchor" if rotated else "default",
    )
    axis.tick_params(length=0)
    axis.hlines(np.arange(1, len(labels)) - 0.5, -0.5, len(tasks) - 0.5, color="white", linewidth=0.6)
    axis.vlines(np.arange(1, len(tasks)) - 0.5, -0.5, len(labels) - 0.5, color="white", linewidth=0.6)
    for side in axis.spines.values():
        side.set_visible(False)
    return shown
