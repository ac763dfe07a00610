"""Scores over the number of executed steps of a chunk: one line per policy, one panel per benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.cells import FLOOR, Row

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE, style.SKY)
MARKERS = "osD^vP"


def draw_executed_steps(
    rows: Sequence[Row],
    benchmarks: Sequence[str],
    labels: Mapping[tuple[str, str], str],
    scale: str,
    floor: Mapping[str, float],
    stem: Path,
) -> None:
    """Write `stem`.{pdf,png}: the measured `rows`, each with its number of steps in the key `executed`.

    `labels`: the names of the policies. `floor`: the score of random actions by benchmark, a dotted line.
    """
    with style.panels(len(benchmarks), 3.1, 3.4) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            factor = names.factor(score_metric(benchmark))
            own = [row for row in rows if row["benchmark"] == benchmark and row["value"] is not None]
            counts = sorted({row["executed"] for row in own})
            for number, (policy, label) in enumerate(labels.items()):
                line = sorted(
                    (row for row in own if (row["model"], row["variant"]) == policy),
                    key=lambda row: row["executed"],
                )
                # The points at one number of steps are spread, so that they do not cover each other.
                shift = (number - (len(labels) - 1) / 2) * _spacing(counts) / (len(labels) + 2)
                axis.errorbar(
                    [row["executed"] + shift for row in line],
                    [factor * row["value"] for row in line],
                    yerr=[
                        [factor * (row["value"] - row["ci_low"]) for row in line],
                        [factor * (row["ci_high"] - row["value"]) for row in line],
                    ],
                    color=COLOURS[number % len(COLOURS)],
                    marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
                    markersize=4,
                    linewidth=1.1,
                    elinewidth=0.8,
                    label=label,
                )
            if benchmark in floor:
                line = {"color": style.BLACK, "linestyle": ":", "label": names.model(FLOOR)}
                axis.axhline(factor * floor[benchmark], **line)
            if not own:
                style.empty(axis)
            axis.set_xticks(counts)
            axis.set_xlabel("executed steps of a chunk")
            axis.set_ylabel(names.unit(benchmark))
            axis.set_ylim(bottom=-0.03 * axis.get_ylim()[1])  # shows the markers of zeros whole
            axis.set_title(names.benchmark(benchmark, scale))
        style.shared_legend(figure, axes, columns=3)
        style.save(figure, stem)


def _spacing(counts: Sequence[int]) -> float:
    """The width over which the points at one number of steps are spread."""
    return min((after - before for before, after in pairwise(counts)), default=1) * 0.6
