"""Question score against policy score: scatter plots with labels, and r of every question set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.analysis.estimates import score_metric
from vlm4vla.report import names, style
from vlm4vla.report.capability_scores import OVERALL, Score
from vlm4vla.report.cells import Row, pick


def draw_scatter(
    policies: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    models: Sequence[str],
    benchmarks: Sequence[str],
    correlations: Sequence[Row],
    scale: str,
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: one panel a benchmark, one labelled point with 95 % intervals a backbone."""
    with style.panels(len(benchmarks), 4.6, 4.4) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            metric = score_metric(benchmark)
            points = []
            for model in models:
                row = pick(policies, model, "full", benchmark, metric)
                if row["value"] is not None and OVERALL in scores.get(model, {}):
                    points.append((names.model(model), scores[model][OVERALL], row))
            r = next(
                row
                for row in correlations
                if (row["benchmark"], row["question_set"], row["metric"]) == (benchmark, OVERALL, "pearson_r")
            )
            title = names.benchmark(benchmark, scale)
            if r["value"] is not None:
                title += f": r = {r['value']:.2f}, {names.p_value(r['p_value'])}"
            axis.set_title(title)
            axis.set_xlabel("questions answered rightly, %")
            axis.set_ylabel(names.unit(metric))
            if points:
                _scatter(axis, points, 1 if metric == "average_length" else 100)
            else:
                style.empty(axis)
        style.save(figure, stem)


def _scatter(axis: Any, points: Sequence[tuple[str, Score, Row]], factor: int) -> None:
    x = 100 * np.array([[score.value, score.ci_low, score.ci_high] for _, score, _ in points])
    y = factor * np.array([[row["value"], row["ci_low"], row["ci_high"]] for _, _, row in points])
    axis.errorbar(
        x[:, 0],
        y[:, 0],
        xerr=np.abs(x[:, 1:] - x[:, :1]).T,
        yerr=np.abs(y[:, 1:] - y[:, :1]).T,
        fmt="o",
        markersize=5,
        color=style.BLUE,
        ecolor="#9FC3DD",
        elinewidth=1,
    )
    axis.margins(0.12)
    _label(axis, [name for name, _, _ in points], x[:, 0], y[:, 0])


def _label(axis: Any, labels: Sequence[str], x: np.ndarray, y: np.ndarray) -> None:
    """Name every point, in order of height, at the first of several places that is still free."""
    axis.figure.canvas.draw()
    spots = axis.transData.transform(np.column_stack([x, y]))
    size = axis.figure.dpi / 72 * 7  # a 7-point font, in pixels
    frame = axis.get_window_extent()
    taken = [(px - 4, py - 4, px + 4, py + 4) for px, py in spots]
    for index in np.lexsort((x, y)):
        width, height = 0.62 * size * len(labels[index]), 1.25 * size
        px, py = spots[index]
        best = None
        for reach in (6, 14, 24, 36, 50):
            for side, rise in ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0)):
                left = px + side * reach - (width if side < 0 else width / 2 if side == 0 else 0)
                low = py + rise * reach - height / 2
                box = (left, low, left + width, low + height)
                inside = (
                    frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
                )
                if inside and not any(_overlap(box, other) for other in taken):
                    best = box
                    break
            if best:
                break
        best = best or (px + 6, py + 6, px + 6 + width, py + 6 + height)
        taken.append(best)
        centre = axis.transData.inverted().transform(((best[0] + best[2]) / 2, (best[1] + best[3]) / 2))
        axis.annotate(
            labels[index],
            (x[index], y[index]),
            xytext=tuple(centre),
            ha="center",
            va="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": style.GREY, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def draw_sets(
    correlations: Sequence[Row], benchmarks: Sequence[str], sets: Sequence[str], scale: str, stem: Path
) -> None:
    """Write `stem`.{pdf,png}: Pearson's r of each question set with its interval, one panel a benchmark."""
    with style.panels(len(benchmarks), 3.3, 1.2 + 0.3 * len(sets), sharey=True) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            for place, name in enumerate(sets):
                row = next(
                    row
                    for row in correlations
                    if (row["benchmark"], row["question_set"], row["metric"])
                    == (benchmark, name, "pearson_r")
                )
                if row["value"] is None:
                    axis.text(0, place, "not defined", ha="center", va="center", color=style.GREY, fontsize=7)
                    continue
                clear = row["p_value"] < 0.05
                if row["ci_low"] is not None:
                    axis.hlines(place, row["ci_low"], row["ci_high"], color=style.BLUE, linewidth=1.4)
                axis.plot(
                    row["value"],
                    place,
                    "o",
                    color=style.BLUE,
                    markerfacecolor=style.BLUE if clear else "white",
                    label="p < 0.05" if clear else "p at least 0.05",
                )
            axis.axvline(0, color=style.GREY, linewidth=0.8)
            axis.set_xlim(-1.05, 1.05)
            axis.set_xticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"])
            axis.set_xlabel("Pearson r, 95 % interval")
            axis.set_title(names.benchmark(benchmark, scale))
        axes[0].set_yticks(range(len(sets)), list(sets))
        axes[0].set_ylim(len(sets) - 0.4, -0.6)
        handles: dict[str, Any] = {}
        for axis in axes:
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        if handles:
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
        style.save(figure, stem)
