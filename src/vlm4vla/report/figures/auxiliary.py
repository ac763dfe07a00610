"""Auxiliary tasks as box plots over training seeds, beside what fine-tuning did to the VLM itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.capability_scores import Score
from vlm4vla.report.rows.cells import Cell, Row, pick
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.fine_tuned import FineTuned

GAP_BETWEEN_MODELS = 0.7
Line = tuple[str, str, str]  # model, variant, auxiliary: one line of the figure


def draw_auxiliaries(
    rows: Sequence[Row],
    spread: Mapping[Cell, Mapping[int, float]],
    vlms: Sequence[FineTuned],
    scale: str,
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: one line a (backbone, task).

    Left, a panel a benchmark: a box over the values of the training seeds, `spread` by cell and seed, each
    seed a point; the dashed line is the median of the same backbone without a task. Then the task's own score
    and the VLM's capability, each before and after fine-tuning.
    """
    benchmarks = list(dict.fromkeys(cell.benchmark for cell in spread))
    places = _places(spread)
    with style.panels(
        len(benchmarks) + 2,
        3.5,
        1.6 + 0.34 * len(places),
        sharey=True,
        gridspec_kw={"width_ratios": [1.5] * len(benchmarks) + [1, 1]},
    ) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=False):
            _boxes(axis, rows, spread, places, benchmark)
            axis.set_title(names.benchmark(benchmark, scale))
        tuned = {(vlm.model, vlm.auxiliary): vlm for vlm in vlms}
        own, capability = axes[-2:]
        for (model, _, auxiliary), place in places.items():
            vlm = tuned[model, auxiliary]
            _pair(own, place, vlm.own and vlm.own.before, vlm.own and vlm.own.after)
            _pair(capability, place, vlm.base, vlm.capability if auxiliary != NONE else None)
        own.set_title("the task's own score")
        capability.set_title("capability, all questions")
        for axis in (own, capability):
            axis.set_xlabel("held-out questions, %")
            axis.set_xlim(-3, 103)
        axes[0].set_yticks(list(places.values()), _labels(places))
        axes[0].set_ylim(max(places.values()) + 0.6, -0.6)
        for axis in axes:
            axis.grid(axis="y", visible=False)
        handles: dict[str, Any] = {}
        for axis in axes:
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        if handles:
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        style.save(figure, stem)


def _places(spread: Mapping[Cell, Any]) -> dict[Line, float]:
    """Height of every line, with room between backbones."""
    lines = dict.fromkeys((cell.model, cell.variant, cell.auxiliary) for cell in spread)
    places: dict[Line, float] = {}
    height, last = -1.0, None
    for line in lines:
        height += 1 if last in (None, line[0]) else 1 + GAP_BETWEEN_MODELS
        places[line], last = height, line[0]
    return places


def _labels(places: Mapping[Line, float]) -> list[str]:
    several = len({variant for _, variant, _ in places}) > 1
    return [
        f"{names.model(model)}: {names.auxiliary(auxiliary)}"
        + (f", {names.variant(variant)}" if several else "")
        for model, variant, auxiliary in places
    ]


def _boxes(
    axis: Any,
    rows: Sequence[Row],
    spread: Mapping[Cell, Mapping[int, float]],
    places: Mapping[Line, float],
    benchmark: str,
) -> None:
    metric = score_metric(benchmark)
    factor = 1 if metric == "average_length" else 100
    for (model, variant, auxiliary), place in places.items():
        cell = Cell(model, variant, benchmark, auxiliary)
        values = [factor * value for value in spread.get(cell, {}).values()]
        colour = style.GREY if auxiliary == NONE else style.BLUE
        if values:
            axis.boxplot(
                values,
                positions=[place],
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
                [place] * len(values),
                "o",
                color=colour,
                markersize=4,
                zorder=3,
                label="a training seed, no task" if auxiliary == NONE else "a training seed, after a task",
            )
        else:
            axis.text(0.02, place, "not measured", transform=axis.get_yaxis_transform(), color=style.GREY)
        published = pick(rows, *cell[:3], metric, auxiliary)["published"]
        if published is not None:
            axis.plot(
                factor * published,
                place,
                "D",
                markersize=5,
                markerfacecolor="none",
                markeredgecolor=style.VERMILION,
                label="published (real models, real benchmark)",
            )
        if auxiliary == NONE and values:
            own = [other for line, other in places.items() if line[:2] == (model, variant)]
            axis.vlines(
                median(values),
                min(own) - 0.45,
                max(own) + 0.45,
                color=style.BLACK,
                linestyle="--",
                linewidth=1,
                label="median without a task",
            )
    axis.set_xlabel(names.unit(metric))


def _pair(axis: Any, place: float, before: Score | None, after: Score | None) -> None:
    """A hollow marker before, a full one after, joined; intervals across both."""
    for score, shift, filled, label in (
        (before, -0.12 if after else 0.0, False, "before fine-tuning, 95 % interval"),
        (after, 0.12, True, "after fine-tuning, 95 % interval"),
    ):
        if score is None:
            continue
        value, low, high = (100 * each for each in (score.value, *score.interval))
        axis.errorbar(
            value,
            place + shift,
            xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
            fmt="s",
            markersize=4.5,
            color=style.GREEN,
            markerfacecolor=style.GREEN if filled else "white",
            elinewidth=1.1,
            label=label,
        )
    if before is not None and after is not None:
        ends = [100 * before.value, 100 * after.value]
        axis.plot(ends, [place - 0.12, place + 0.12], color=style.GREEN, linewidth=0.7, alpha=0.6, zorder=1)
