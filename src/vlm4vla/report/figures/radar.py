"""Figure 1 of the paper: backbones around a circle, one outline a benchmark; measured beside published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.benchmarks import MAXIMUM, score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.cells import Row, pick

# told apart by dash and marker as well, for print without colour
_LOOKS = {
    "calvin": {"color": style.BLUE, "linestyle": "-", "marker": "o"},
    "bridge": {"color": style.VERMILION, "linestyle": "--", "marker": "s"},
    "libero-10": {"color": style.GREEN, "linestyle": "-.", "marker": "^"},
}
_MORE = (  # in turn, of benchmarks that are not built in
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
    """Write `stem`.{pdf,png}: every score in percent of its maximum, 95 % intervals as bands.

    Left what was measured, right what is published. A policy without a value leaves a gap in the outline.
    """
    with style.canvas(9.6, 4.4) as figure:
        for place, key, title in (
            (1, "value", f"measured, {scale} scale"),
            (2, "published", "published: real models and benchmarks"),
        ):
            axis = figure.add_subplot(1, 2, place, projection="polar")
            _circle(axis, [labels[policy] for policy in policies])
            axis.set_title(title, pad=22)
            drawn = [_outline(axis, rows, policies, name, key, look) for name, look in _looks(benchmarks)]
            if not any(drawn):
                style.empty(axis)
        handles = {}
        for axis in figure.axes:
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        if handles:
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        style.save(figure, stem)


def _looks(benchmarks: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    others = [name for name in benchmarks if name not in _LOOKS]
    return [
        (name, _LOOKS[name] if name in _LOOKS else _MORE[others.index(name) % len(_MORE)])
        for name in benchmarks
    ]


def _angles(count: int) -> np.ndarray:
    return 2 * np.pi * np.arange(count) / max(count, 1)


def _circle(axis: Any, labels: Sequence[str]) -> None:
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    axis.set_ylim(0, 100)
    axis.set_yticks([25, 50, 75, 100], ["25", "50", "75", "100 %"], fontsize=7, color=style.GREY)
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
    look: Mapping[str, Any],
) -> bool:
    """Draw one benchmark; whether it had a value."""
    metric = score_metric(benchmark)
    found = [pick(rows, *policy, benchmark, metric) for policy in policies]
    share = 100 / MAXIMUM[metric]

    def closed(name: str) -> np.ndarray:
        values = [np.nan if row[name] is None else share * row[name] for row in found]
        return np.array([*values, values[0]])

    if all(row[key] is None for row in found):
        return False
    around = np.append(_angles(len(policies)), 2 * np.pi)
    axis.plot(around, closed(key), markersize=3.5, linewidth=1.4, label=names.benchmark(benchmark), **look)
    if key == "value":
        axis.fill_between(around, closed("ci_low"), closed("ci_high"), color=look["color"], alpha=0.13, lw=0)
    return True
