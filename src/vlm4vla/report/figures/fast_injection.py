"""FAST injection as bars with intervals, grouped by the variant of the VLA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import Cell, Row, pick

_COLOURS = {"none": style.GREY, "fast-freeze-vision": style.SKY, "fast-unfreeze-vision": style.BLUE}


def draw_fast_injection(
    rows: Sequence[Row],
    cells: Sequence[Cell],
    groups: Mapping[str, str],
    scale: str,
    floors: Mapping[str, float],
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: one panel per benchmark, with a group of bars for each variant.

    `groups`: the label of each variant's group. A star marks a significant paired difference (adjusted p
    below 0.05) to the bar without a task in the same group. The dotted line is the score of random actions
    (`floors`, by benchmark).
    """
    benchmarks = list(dict.fromkeys(cell.benchmark for cell in cells))
    with style.panels(len(benchmarks), 6.4, 3.9) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            shown = [cell for cell in cells if cell.benchmark == benchmark]
            _panel(axis, rows, shown, groups, floors.get(benchmark))
            axis.set_title(f"{names.benchmark(benchmark, scale)}   (* paired p < 0.05)", fontsize=9)
        style.shared_legend(figure, axes, columns=2)
        style.save(figure, stem)


def _panel(
    axis: Any, rows: Sequence[Row], cells: Sequence[Cell], groups: Mapping[str, str], floor: float | None
) -> None:
    metric = score_metric(cells[0].benchmark)
    factor = names.factor(metric)
    keys = list(dict.fromkeys((cell.model, cell.variant) for cell in cells))
    several_models = len({model for model, _ in keys}) > 1
    top = 0.0
    for group, key in enumerate(keys):
        tasks = [cell.auxiliary for cell in cells if cell[:2] == key]
        width = 0.8 / len(tasks)
        for index, task in enumerate(tasks):
            x = group + (index - (len(tasks) - 1) / 2) * width
            row = pick(rows, *key, cells[0].benchmark, metric, task)
            if row["published"] is not None:
                top = max(top, factor * row["published"])
                axis.plot(
                    x + 0.3 * width,  # next to the interval, not on it
                    factor * row["published"],
                    "D",
                    markersize=5.5,
                    markerfacecolor="white",
                    markeredgecolor=style.VERMILION,
                    zorder=3,
                    label="published (real models, real benchmark)",
                )
            if row["value"] is None:
                axis.text(x, 0, "not measured ", rotation=90, va="bottom", ha="center", color=style.GREY)
                continue
            value, low, high = (factor * row[name] for name in ("value", "ci_low", "ci_high"))
            top = max(top, high)
            axis.bar(
                x,
                value,
                0.92 * width,
                yerr=[[value - low], [high - value]],
                color=_COLOURS.get(task, style.GREEN),
                error_kw={"elinewidth": 1.1, "capsize": 2.5},
                label=names.auxiliary(task),
            )
            if contrast.significant(row, 1) or contrast.significant(row, -1):
                axis.annotate("*", (x, high), ha="center", va="bottom", fontsize=11)
    if floor is not None:
        axis.axhline(factor * floor, color=style.BLACK, linestyle=":", linewidth=1, label="random actions")
    labels = [
        (f"{names.model(model)}\n" if several_models else "") + groups.get(variant, names.variant(variant))
        for model, variant in keys
    ]
    axis.set_xticks(range(len(keys)), labels)
    axis.set_xlim(-0.6, len(keys) - 0.4)
    axis.set_ylim(0, 1.12 * top if top else 1)
    axis.grid(axis="x", visible=False)
    axis.set_ylabel(names.unit(cells[0].benchmark))
