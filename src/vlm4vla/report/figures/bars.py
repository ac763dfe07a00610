"""Groups of horizontal bars with intervals, published values and stars. Scores of 0 are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import Row

BAR = 0.19  # inches
STUB = 0.012  # the least length of a bar, as a share of the panel


class Bar(NamedTuple):
    """One bar: the row of its score, the label of its series and its colour."""

    row: Row
    label: str
    colour: str


def height(groups: Sequence[Sequence[Bar]], labels: Sequence[str]) -> float:
    """The inches of a panel with `groups` of bars."""
    most = max((len(group) for group in groups), default=1)
    return max(2.0, 1.15 + len(groups) * max(BAR * most + 0.12, style.row_height(labels, 0.3)))


def draw_bars(
    axis: Any,
    groups: Sequence[Sequence[Bar]],
    labels: Sequence[str],
    benchmark: str,
    floor: float | None,
    star: str,
) -> None:
    """Draw one group of bars for each of `labels`, the first at the top.

    `floor`: the score of random actions, a dotted line. `star`: what an asterisk says, for the legend.
    """
    factor = names.factor(score_metric(benchmark))
    rows = [bar.row for group in groups for bar in group]
    ends = [factor * row[key] for row in rows for key in ("ci_high", "published") if row[key] is not None]
    span = max([*ends, factor * (floor or 0)], default=0) or 1
    for place, group in enumerate(groups):
        thickness = 0.8 / max(1, len(group))
        for index, bar in enumerate(group):
            y = place + (index - (len(group) - 1) / 2) * thickness
            _bar(axis, bar, y, thickness, factor, span, star)
    if floor is not None:
        axis.axvline(factor * floor, color=style.BLACK, linestyle=":", linewidth=1, label="random actions")
    axis.set_yticks(range(len(groups)), labels)
    axis.set_ylim(len(groups) - 0.45, -0.55)
    axis.set_xlim(-0.015 * span, 1.14 * span)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(names.unit(benchmark))


def _bar(axis: Any, bar: Bar, y: float, thickness: float, factor: int, span: float, star: str) -> None:
    row = bar.row
    published = None if row["published"] is None else factor * row["published"]
    if published is not None:
        axis.plot(published, y, **style.PUBLISHED)
    if row["value"] is None:
        start = _free(0, published, span, 0.3)
        axis.text(start, y, "not measured", va="center", ha="left", color=style.GREY, fontsize=7)
        return
    value, low, high = (factor * row[name] for name in ("value", "ci_low", "ci_high"))
    # A bar of no length would not be seen.
    axis.barh(
        y,
        max(value, STUB * span),
        0.9 * thickness,
        color=bar.colour,
        edgecolor=bar.colour,
        label=bar.label,
    )
    axis.errorbar(
        value,
        y,
        xerr=[[value - low], [high - value]],
        fmt="none",
        ecolor=style.BLACK,
        elinewidth=1.1,
        capsize=2,
    )
    after = _free(high, published, span, 0.06)
    if value == 0:
        axis.text(after, y, "0", va="center", ha="left", fontsize=7)
        after = _free(after + 0.03 * span, published, span, 0.03)
    if contrast.significant(row, 1) or contrast.significant(row, -1):
        axis.plot(after + 0.01 * span, y, label=star, **style.STAR)


def _free(start: float, published: float | None, span: float, length: float) -> float:
    """Where a text of `length` (a share of the panel) may begin after `start`, behind a published value."""
    begin = start + 0.02 * span
    if published is not None and begin - 0.03 * span <= published <= begin + (length + 0.02) * span:
        return published + 0.03 * span
    return begin
