"""Auxiliary tasks as box plots over training seeds, next to the scores of the fine-tuned VLM itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from vlm4vla.conventions.benchmarks import maximum, score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.capability_scores import Score
from vlm4vla.report.rows.cells import Cell, Row, pick
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.fine_tuned import FineTuned

GAP_BETWEEN_MODELS = 0.7
Line = tuple[str, str, str]  # model, variant, auxiliary


def draw_auxiliaries(
    rows: Sequence[Row],
    spread: Mapping[Cell, Mapping[int, float]],
    vlms: Sequence[FineTuned],
    scale: str,
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: one line per policy, that is per (backbone, variant, task).

    One panel per benchmark shows a box over the training seeds, with a point per seed. `spread` has the
    values by cell and seed. The dashed line is the median of the same backbone without a task. Two more
    panels show the task's own score and the VLM's capability, each before and after fine-tuning.
    """
    benchmarks = list(dict.fromkeys(cell.benchmark for cell in spread))
    heights = _heights(spread)
    labels = style.wrapped(_labels(heights))
    with style.panels(
        len(benchmarks) + 2,
        2.5,
        1.6 + style.row_height(labels, 0.34) * (max(heights.values(), default=0) + 1),
        across=len(benchmarks) + 2,
        labels=labels,
        sharey=True,
        gridspec_kw={"width_ratios": [1.5] * len(benchmarks) + [1, 1]},
    ) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=False):
            _boxes(axis, rows, spread, heights, benchmark)
            axis.set_title(names.benchmark(benchmark, scale))
        tuned = {(vlm.model, vlm.auxiliary): vlm for vlm in vlms}
        own, capability = axes[-2:]
        for (model, _, auxiliary), height in heights.items():
            vlm = tuned[model, auxiliary]
            _before_and_after(own, height, vlm.own and vlm.own.before, vlm.own and vlm.own.after)
            _before_and_after(capability, height, vlm.base, vlm.capability if auxiliary != NONE else None)
        own.set_title("the task's own score")
        capability.set_title("capability, all questions")
        for axis in (own, capability):
            axis.set_xlabel("held-out questions, %")
            axis.set_xlim(-9, 104)
        axes[0].set_yticks(list(heights.values()), labels)
        axes[0].set_ylim(max(heights.values()) + 0.6, -0.6)
        for axis in axes:
            axis.grid(axis="y", visible=False)
        style.shared_legend(figure, axes, columns=3)
        style.save(figure, stem)


def _heights(spread: Mapping[Cell, Any]) -> dict[Line, float]:
    """The height of every line, with space between backbones."""
    lines = dict.fromkeys((cell.model, cell.variant, cell.auxiliary) for cell in spread)
    heights: dict[Line, float] = {}
    height, last = -1.0, None
    for line in lines:
        height += 1 if last in (None, line[0]) else 1 + GAP_BETWEEN_MODELS
        heights[line], last = height, line[0]
    return heights


def _labels(heights: Mapping[Line, float]) -> list[str]:
    several = len({variant for _, variant, _ in heights}) > 1
    return [
        f"{names.model(model)}: {names.auxiliary(auxiliary)}"
        + (f", {names.variant(variant)}" if several else "")
        for model, variant, auxiliary in heights
    ]


def _boxes(
    axis: Any,
    rows: Sequence[Row],
    spread: Mapping[Cell, Mapping[int, float]],
    heights: Mapping[Line, float],
    benchmark: str,
) -> None:
    metric = score_metric(benchmark)
    factor = names.factor(metric)
    for (model, variant, auxiliary), height in heights.items():
        cell = Cell(model, variant, benchmark, auxiliary)
        values = [factor * value for value in spread.get(cell, {}).values()]
        colour = style.GREY if auxiliary == NONE else style.BLUE
        if values:
            axis.boxplot(
                values,
                positions=[height],
                orientation="horizontal",
                widths=0.55,
                manage_ticks=False,
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": colour, "alpha": 0.25, "edgecolor": colour},
                medianprops={"color": colour, "linewidth": 1.6},
                whiskerprops={"color": colour},
                capprops={"color": colour},
            )
            axis.plot(
                values,
                [height] * len(values),
                "o",
                color=colour,
                markersize=4,
                zorder=3,
                label="a training seed, no task" if auxiliary == NONE else "a training seed, after a task",
            )
            if 0 in values:
                style.zero(axis, 0, height)
        published = pick(rows, *cell[:3], metric, auxiliary)["published"]
        if not values:  # beside a published value, not behind it
            at = factor * (published or 0)
            left = at > 0.5 * factor * maximum(benchmark, metric)
            axis.annotate(
                "not measured",
                (at, height),
                xytext=(-6 if left else 6, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                color=style.GREY,
                fontsize=7,
            )
        if published is not None:
            axis.plot(factor * published, height, **style.PUBLISHED)
        if auxiliary == NONE and values:
            own = [other for line, other in heights.items() if line[:2] == (model, variant)]
            axis.vlines(
                median(values),
                min(own) - 0.45,
                max(own) + 0.45,
                color=style.BLACK,
                linestyle="--",
                linewidth=1,
                label="median without a task",
            )
    right = axis.get_xlim()[1]
    axis.set_xlim(-0.09 * right, right)
    axis.set_xlabel(names.unit(benchmark))


def _before_and_after(axis: Any, height: float, before: Score | None, after: Score | None) -> None:
    """Two joined markers with intervals: an open one before fine-tuning, a filled one after."""
    for score, shift, filled, label in (
        (before, -0.12 if after else 0.0, False, "before fine-tuning, 95 % interval"),
        (after, 0.12, True, "after fine-tuning, 95 % interval"),
    ):
        if score is None:
            continue
        value, low, high = (100 * each for each in (score.value, *score.interval))
        axis.errorbar(
            value,
            height + shift,
            xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
            fmt="s",
            markersize=4.5,
            color=style.GREEN,
            markerfacecolor=style.GREEN if filled else "white",
            elinewidth=1.1,
            label=label,
        )
        if score.value == 0:
            style.zero(axis, 0, height + shift)
    if before is not None and after is not None:
        ends = [100 * before.value, 100 * after.value]
        axis.plot(ends, [height - 0.12, height + 0.12], color=style.GREEN, linewidth=0.7, alpha=0.6, zorder=1)
