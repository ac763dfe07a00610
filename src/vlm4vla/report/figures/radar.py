"""Figure 1 of the paper: backbones around a circle, one outline per benchmark, measured and published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.benchmarks import BENCHMARKS, maximum, score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.figures.fitting import overlapping
from vlm4vla.report.rows.cells import Row, pick

RADIUS_OF_ZERO = 12  # percent
OFFSET = 0.25  # radians between the benchmarks' markers at the same policy
# By benchmark: first the built-in ones in their order. Dashes and markers also work in print without colour.
_STYLES = (
    {"color": style.BLUE, "linestyle": "-", "marker": "o"},
    {"color": style.VERMILION, "linestyle": "--", "marker": "s"},
    {"color": style.GREEN, "linestyle": "-.", "marker": "^"},
    {"color": style.PURPLE, "linestyle": ":", "marker": "D"},
    {"color": style.ORANGE, "linestyle": (0, (6, 2)), "marker": "v"},
    {"color": style.SKY, "linestyle": (0, (3, 1, 1, 1)), "marker": "P"},
)


def draw_radar(
    rows: Sequence[Row],
    policies: Sequence[tuple[str, str]],
    labels: Mapping[tuple[str, str], str],
    benchmarks: Sequence[str],
    scale: str,
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: every score in percent of its maximum, with 95 % intervals as bands.

    The left panel shows the measured scores, the right panel the published ones. A policy without a value
    leaves a gap in the outline. A score of 0 is on the small circle in the middle. Numbers stand for names
    that would cover each other.
    """
    shown = style.wrapped([labels[policy] for policy in policies], 18)
    with style.canvas(9.6, 4.4) as figure:
        for number, key, title in (
            (1, "value", f"measured, {scale} scale, % of the maximum"),
            (2, "published", "published (real models, real benchmarks), % of the maximum"),
        ):
            axis = figure.add_subplot(1, 2, number, projection="polar")
            _circle(axis, shown)
            axis.set_title(title, pad=22)
            drawn = [_outline(axis, rows, policies, name, key, line) for name, line in _styles(benchmarks)]
            if not any(drawn):
                style.empty(axis)
        key: list[str] = []
        figure.draw_without_rendering()
        if overlapping(figure) or max(label.count("\n") for label in [*shown, ""]) > 1:
            numbers, key = style.numbered([labels[policy] for policy in policies])
            for axis in figure.axes:
                axis.set_xticks(_angles(len(policies)), numbers, fontsize=8)
                for text in axis.get_xticklabels():
                    text.set_horizontalalignment("center")
        style.shared_legend(figure, figure.axes, columns=3, key=key)
        style.save(figure, stem)


def _styles(benchmarks: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    order = [*BENCHMARKS, *(name for name in benchmarks if name not in BENCHMARKS)]
    return [(name, _STYLES[order.index(name) % len(_STYLES)]) for name in benchmarks]


def _angles(count: int) -> np.ndarray:
    return 2 * np.pi * np.arange(count) / max(count, 1)


def _circle(axis: Any, labels: Sequence[str]) -> None:
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    axis.set_ylim(0, 104)
    axis.spines["inner"].set(color=style.GREY, linewidth=0.6)
    axis.set_rorigin(-RADIUS_OF_ZERO)  # zeros of several policies would be one point in the middle
    axis.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", ""], fontsize=7, color=style.GREY)
    axis.set_rlabel_position(180 / max(len(labels), 1))
    angles = _angles(len(labels))
    axis.set_xticks(angles, labels, fontsize=8)
    for angle, text in zip(angles, axis.get_xticklabels(), strict=True):
        right = np.sin(angle)
        text.set_horizontalalignment("center" if abs(right) < 0.1 else "left" if right > 0 else "right")
    axis.tick_params(axis="x", pad=1)


def _outline(
    axis: Any,
    rows: Sequence[Row],
    policies: Sequence[tuple[str, str]],
    benchmark: str,
    key: str,
    line: Mapping[str, Any],
) -> bool:
    """Draw one benchmark. Returns whether the benchmark has any value."""
    metric = score_metric(benchmark)
    found = [pick(rows, *policy, benchmark, metric) for policy in policies]
    share = 100 / maximum(benchmark, metric)

    def closed(name: str) -> np.ndarray:
        values = [np.nan if row[name] is None else share * row[name] for row in found]
        return np.array([*values, values[0]])

    if all(row[key] is None for row in found):
        return False
    around = np.append(_angles(len(policies)), 2 * np.pi)
    if len(policies) < 3:  # no outline: its lines would cover each other
        line = {**line, "linestyle": "none"}
        around = around + OFFSET * (list(BENCHMARKS).index(benchmark) - 1 if benchmark in BENCHMARKS else 2)
    shown = names.benchmark(benchmark)
    axis.plot(around, closed(key), markersize=3.5, linewidth=1.4, label=shown, clip_on=False, **line)
    if key == "value" and len(policies) > 2:
        axis.fill_between(around, closed("ci_low"), closed("ci_high"), color=line["color"], alpha=0.13, lw=0)
    elif key == "value":
        axis.vlines(around, closed("ci_low"), closed("ci_high"), color=line["color"], linewidth=1.2)
    return True
