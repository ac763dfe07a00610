"""The main figure for the width of a phone: the scores of the main table as a drawing of 360 pixels (SVG)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from vlm4vla.conventions.benchmarks import facts, maximum, score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.cells import CEILING, FLOOR

WIDTH = 360  # CSS pixels, as all lengths here
MOST_BENCHMARKS = 4  # with more, a panel would be too narrow for its numbers
_LABELS, _GAP, _LINE, _ROW, _FONT = 124, 14, 12, 15, 11
_CHARACTERS = 17  # of a label, in one line
_BLUE, _VERMILION, _GREY, _GRID = "#0072B2", "#D55E00", "#6B6B6B", "#DDDDDD"
_BOLD, _SCALE = ' font-weight="bold"', ' font-size="10"'  # of the lines of a title
_SHORT = {FLOOR: "random actions", CEILING: "scripted expert"}

Row = Mapping[str, Any]


def phone_figure(rows: Sequence[Row], scale: str, several_variants: bool = False) -> str | None:
    """An SVG of the scores in `rows`, the tidy rows of the main table (values and intervals as fractions).

    It has a line for each policy, in the order of the rows, and a panel for each benchmark. The marks are
    those of the main figure: circles are measured, open diamonds published, squares floor and ceiling. None
    if there are no scores, or more than `MOST_BENCHMARKS` benchmarks.
    """
    scores = [row for row in rows if row["metric"] == score_metric(row["benchmark"])]
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in scores))
    if not 0 < len(benchmarks) <= MOST_BENCHMARKS:
        return None
    policies = list(dict.fromkeys((row["model"], row["variant"]) for row in scores))
    titles = [
        textwrap.wrap(names.benchmark(name, scale), 12 if len(benchmarks) < 4 else 9) for name in benchmarks
    ]
    top = 4 + _LINE * max(map(len, titles))
    parts, centres, y = [], {}, top
    for policy in policies:
        lines = _label(*policy, several_variants)
        height = max(_ROW, _LINE * len(lines) + 3)
        centres[policy] = y + height / 2
        first = centres[policy] - _LINE * (len(lines) - 1) / 2 + _FONT * 0.35
        parts += [_text(_LABELS - 8, first + _LINE * i, text, "end") for i, text in enumerate(lines)]
        y += height
    span = (WIDTH - _LABELS - 6) / len(benchmarks)
    for number, (benchmark, title) in enumerate(zip(benchmarks, titles, strict=True)):
        left, right = _LABELS + span * number + _GAP / 2, _LABELS + span * (number + 1) - _GAP / 2
        parts += [
            _text((left + right) / 2, _LINE * (i + 1), text, "middle", _SCALE if text[0] == "(" else _BOLD)
            for i, text in enumerate(title)
        ]
        parts += _axis(left, right, top, y, _end(benchmark))
        own = [row for row in scores if row["benchmark"] == benchmark]
        for row in own:
            parts += _points(row, left, right, centres[row["model"], row["variant"]])
    inside = "\n".join(parts)
    height = round(y + 18)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, DejaVu Sans, sans-serif" font-size="{_FONT}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{inside}\n</svg>\n'
    )


def _label(model: str, variant: str, several_variants: bool) -> list[str]:
    """The lines of a policy's label."""
    text = _SHORT.get(model) or names.model(model)
    if several_variants and model not in _SHORT:
        text += f", {names.variant(variant)}"
    return textwrap.wrap(text, _CHARACTERS)


def _end(benchmark: str) -> str:
    """The label of the right end of the axis: `5` of an average length, `100 %` of a success rate."""
    return str(facts(benchmark).instructions_per_episode) if facts(benchmark).is_chain else "100 %"


def _axis(left: float, right: float, top: float, bottom: float, end: str) -> list[str]:
    middle = (left + right) / 2
    lines = [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{_GRID}"/>'
        for x in (left, middle, right)
    ]
    return [
        *lines,
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{bottom}" y2="{bottom}" stroke="black"/>',
        _text(left, bottom + 13, "0", "middle"),
        _text(right, bottom + 13, end, "end" if "%" in end else "middle"),
    ]


def _points(row: Row, left: float, right: float, y: float) -> list[str]:
    """The interval, the measured and the published value of a row."""
    most = maximum(row["benchmark"], row["metric"])

    def at(value: float) -> float:
        return left + (right - left) * value / most

    parts = []
    if row["value"] is None:
        parts.append(_text(left + 2, y + 4, "not measured", "start", f' fill="{_GREY}" font-size="9"'))
    else:
        reference = row["model"] in _SHORT
        colour = _GREY if reference else _BLUE
        if row.get("ci_low") is not None:
            parts.append(
                f'<line x1="{at(row["ci_low"]):.1f}" x2="{at(row["ci_high"]):.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="{colour}" stroke-width="2"/>'
            )
        x = at(row["value"])
        if reference:
            corner = f'x="{x - 3.2:.1f}" y="{y - 3.2:.1f}"'
            parts.append(f'<rect {corner} width="6.4" height="6.4" fill="{colour}"/>')
        else:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
    if row.get("published") is not None:
        x = at(row["published"])
        points = f"{x:.1f},{y - 4.5:.1f} {x + 4.5:.1f},{y:.1f} {x:.1f},{y + 4.5:.1f} {x - 4.5:.1f},{y:.1f}"
        parts.append(f'<polygon points="{points}" fill="none" stroke="{_VERMILION}" stroke-width="1.4"/>')
    return parts


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
