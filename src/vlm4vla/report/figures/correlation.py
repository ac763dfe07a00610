"""Question scores against policy scores: scatter plots with labels, and r of every question set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.analysis.sensitivity import SIGNIFICANT
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.figures.fitting import fit
from vlm4vla.report.figures.label_placement import all_free, place_labels
from vlm4vla.report.rows.capability_scores import OVERALL, Score
from vlm4vla.report.rows.cells import Row, pick
from vlm4vla.report.rows.correlations import pearson_row


def draw_scatter(
    policies: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    models: Sequence[str],
    benchmarks: Sequence[str],
    correlations: Sequence[Row],
    scale: str,
    stem: Path,
    groups: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Write `stem`.{pdf,png}: one panel per benchmark, with the least-squares line.

    Each backbone is a labelled point with 95 % intervals. Numbers stand for the names if these have no room.
    `groups`: for each benchmark, the group of each backbone if r is a difference of groups
    (`correlations.carrying_groups`). Then the groups have colours and their means crosses, and there is no
    line.
    """
    with style.panels(len(benchmarks), 3.6, 3.7) as (figure, axes):
        named = []
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            metric = score_metric(benchmark)
            points, member = [], []
            for model in models:
                row = pick(policies, model, "full", benchmark, metric)
                if row["value"] is not None and OVERALL in scores.get(model, {}):
                    points.append((names.model(model), scores[model][OVERALL], row))
                    member.append((groups or {}).get(benchmark, {}).get(model, 0))
            r = pearson_row(correlations, benchmark, OVERALL)
            title = names.benchmark(benchmark, scale)
            if r["value"] is not None:
                title += f"\nr = {r['value']:.2f}, Holm {names.p_value(r['p_adjusted'])}"
            published = _published(correlations, benchmark)
            title += "" if published is None else f"\npublished r = {published:.3f}"
            axis.set_title(title)
            axis.set_xlabel("questions answered correctly, %")
            axis.set_ylabel(names.unit(benchmark))
            if points:
                x, y = _scatter(axis, points, names.factor(metric), np.array(member))
                named.append((axis, [name for name, _, _ in points], x, y))
            else:
                style.empty(axis)
        fit(figure)
        shown = list(dict.fromkeys(name for _, own, _, _ in named for name in own))
        numbers, key = style.numbered(shown)
        if all([_label(*each) for each in named]):
            key = []
        else:  # the names have no room
            for axis, *_ in named:
                for text in list(axis.texts):
                    text.remove()
        style.shared_legend(figure, axes, columns=4, key=key)
        fit(figure)
        for axis, own, x, y in named if key else []:
            _label(axis, [numbers[shown.index(name)] for name in own], x, y)
        style.save(figure, stem)


def _published(correlations: Sequence[Row], benchmark: str) -> float | None:
    """The paper's r of the overall score on a benchmark, for the group of backbones that it is about."""
    found = [
        row["published"]
        for row in correlations
        if row["metric"] == "pearson_r" and (row["benchmark"], row["question_set"]) == (benchmark, OVERALL)
    ]
    return next((value for value in found if value is not None), None)


def _scatter(
    axis: Any, points: Sequence[tuple[str, Score, Row]], factor: int, member: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points and intervals, and the least-squares line or the means of the groups `member` (n,).

    Returns x and y, each (n, 3): value and both ends of the interval.
    """
    x = 100 * np.array([[score.value, *score.interval] for _, score, _ in points])
    y = factor * np.array([[row["value"], row["ci_low"], row["ci_high"]] for _, _, row in points])
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE)
    count = int(member.max()) + 1
    for group in range(count):
        a, b = x[member == group], y[member == group]
        axis.errorbar(
            a[:, 0],
            b[:, 0],
            xerr=np.abs(a[:, 1:] - a[:, :1]).T,
            yerr=np.abs(b[:, 1:] - b[:, :1]).T,
            fmt="o",
            markersize=5,
            color=colours[group % len(colours)],
            ecolor="#9FC3DD" if count == 1 else "#C9C9C9",
            elinewidth=1,
            label=f"group {group + 1}" if count > 1 else None,
        )
        if count > 1:
            style_of_mean = {"marker": "x", "markersize": 9, "linestyle": "none", "color": style.BLACK}
            axis.plot(a[:, 0].mean(), b[:, 0].mean(), label="mean of a group", zorder=3, **style_of_mean)
    axis.margins(0.12)
    if count == 1 and len(points) > 2 and np.ptp(x[:, 0]) > 0:
        slope, start = np.polyfit(x[:, 0], y[:, 0], 1)
        ends = np.array([x[:, 0].min(), x[:, 0].max()])
        axis.plot(ends, slope * ends + start, "--", color=style.GREY, linewidth=1, zorder=1)
    return x, y


def _label(axis: Any, labels: Sequence[str], x: np.ndarray, y: np.ndarray) -> bool:
    """Label every point. `x` and `y`, each (n, 3): value and both ends of the interval.

    The figure must have been drawn before, so that the panel has its final size. Returns whether all labels
    have room in the panel, where none covers another.
    """
    texts = [axis.text(0, 0, label, fontsize=7) for label in labels]
    boxes = [text.get_window_extent() for text in texts]
    for text in texts:
        text.remove()
    frame = axis.get_window_extent()
    low, high = (
        np.vstack([np.column_stack([x[:, i], y[:, 0]]), np.column_stack([x[:, 0], y[:, i]])]) for i in (1, 2)
    )
    ends = np.hstack([axis.transData.transform(low), axis.transData.transform(high)])
    sizes = np.array([(box.width + 4, box.height + 3) for box in boxes])
    limits = (frame.x0 + 2, frame.y0 + 2, frame.x1 - 2, frame.y1 - 2)
    points = axis.transData.transform(np.column_stack([x[:, 0], y[:, 0]]))
    centres = place_labels(points, sizes, limits, [tuple(each) for each in ends])
    for label, point, centre in zip(
        labels, zip(x[:, 0], y[:, 0], strict=True), axis.transData.inverted().transform(centres), strict=True
    ):
        note = axis.annotate(
            label,
            point,
            xytext=tuple(centre),
            ha="center",
            va="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": style.GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
            # Labels cover intervals, which may pass behind them.
            bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.5, "linewidth": 0},
        )
        note.set_in_layout(False)
    return all_free(centres, sizes, limits)


def draw_sets(
    correlations: Sequence[Row], benchmarks: Sequence[str], sets: Sequence[str], scale: str, stem: Path
) -> None:
    """Write `stem`.{pdf,png}: Pearson's r of each question set with its interval, one panel per benchmark."""
    labels = style.wrapped([names.words(name) for name in sets])
    inches = 1.2 + style.row_height(labels, 0.3) * len(sets)
    with style.panels(len(benchmarks), 2.6, inches, labels=labels, sharey=True) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            for y, name in enumerate(sets):
                row = pearson_row(correlations, benchmark, name)
                if row["value"] is None:
                    axis.text(0.05, y, "not defined", ha="left", va="center", color=style.GREY, fontsize=7)
                    continue
                clear = row["p_adjusted"] < SIGNIFICANT
                if row["ci_low"] is not None:
                    axis.hlines(y, row["ci_low"], row["ci_high"], color=style.BLUE, linewidth=1.4)
                axis.plot(
                    row["value"],
                    y,
                    "o",
                    color=style.BLUE,
                    markerfacecolor=style.BLUE if clear else "white",
                    label="Holm p < 0.05" if clear else "Holm p at least 0.05",
                )
            axis.axvline(0, color=style.GREY, linewidth=0.8)
            axis.set_xlim(-1.05, 1.05)
            axis.set_xticks([-1, -0.5, 0, 0.5, 1], ["-1", "-0.5", "0", "0.5", "1"])
            axis.set_xlabel("Pearson r, 95 % interval")
            axis.set_title(names.benchmark(benchmark, scale))
        axes[0].set_yticks(range(len(sets)), labels)
        axes[0].set_ylim(len(sets) - 0.4, -0.6)
        style.shared_legend(figure, axes, columns=2)
        style.save(figure, stem)
