"""FAST injection as bars with intervals, grouped by the variant of the VLA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.figures.bars import Bar, draw_bars, height
from vlm4vla.report.rows.cells import Cell, Row, pick

_COLOURS = {"none": style.GREY, "fast-freeze-vision": style.SKY, "fast-unfreeze-vision": style.BLUE}
_OTHERS = (style.GREEN, style.ORANGE, style.PURPLE, style.VERMILION)


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
    keys = list(dict.fromkeys((cell.model, cell.variant) for cell in cells))
    several = len({model for model, _ in keys}) > 1
    labels = style.wrapped(
        [
            (f"{names.model(model)}: " if several else "") + groups.get(variant, names.variant(variant))
            for model, variant in keys
        ]
    )
    others = [task for task in dict.fromkeys(cell.auxiliary for cell in cells) if task not in _COLOURS]
    colours = _COLOURS | {task: _OTHERS[i % len(_OTHERS)] for i, task in enumerate(others)}

    def bars(benchmark: str, model: str, variant: str) -> list[Bar]:
        own = [cell for cell in cells if cell[:3] == (model, variant, benchmark)]
        metric = score_metric(benchmark)
        return [
            Bar(
                pick(rows, *cell[:3], metric, cell.auxiliary),
                names.auxiliary(cell.auxiliary),
                colours[cell.auxiliary],
            )
            for cell in own
        ]

    panels = {benchmark: [bars(benchmark, *key) for key in keys] for benchmark in benchmarks}
    tall = height(next(iter(panels.values()), []), labels)
    width = 4.6 if len(benchmarks) == 1 else 2.6
    with style.panels(len(benchmarks), width, tall, labels=labels, sharey=True) as (figure, axes):
        for axis, (benchmark, shown) in zip(axes, panels.items(), strict=True):
            star = f"differs from the bar without a task {style.TESTED}"
            draw_bars(axis, shown, labels, benchmark, floors.get(benchmark), star)
            axis.set_title(names.benchmark(benchmark, scale))
        style.shared_legend(figure, axes, columns=2)
        style.save(figure, stem)
