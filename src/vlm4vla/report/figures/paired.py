"""Variants of the same backbones side by side: bars with intervals, one panel per benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.figures.bars import Bar, draw_bars, height
from vlm4vla.report.rows.cells import Row, pick


def draw_variants(
    rows: Sequence[Row],
    models: Sequence[str],
    variants: Sequence[str],
    benchmarks: Sequence[str],
    scale: str,
    floors: Mapping[str, float],
    stem: Path,
    labels: Mapping[str, str] = names.VARIANTS,
) -> None:
    """Write `stem`.{pdf,png}: a group of bars per backbone, with the published values.

    A star marks a significant paired difference to `full` (Holm's p below 0.05). The dotted line is the score
    of random actions (`floors`, by benchmark).
    """
    shown = style.wrapped([names.model(model) for model in models])
    series = {variant: labels.get(variant, variant) for variant in variants}
    colours = {name: style.SERIES[i % len(style.SERIES)] for i, name in enumerate(variants)}
    star = f"differs from '{labels.get('full', 'full')}' {style.TESTED}"
    panels = {
        benchmark: [
            [
                Bar(
                    pick(rows, model, variant, benchmark, score_metric(benchmark)),
                    series[variant],
                    style.VARIANT_COLOURS.get(variant, colours[variant]),
                )
                for variant in variants
            ]
            for model in models
        ]
        for benchmark in benchmarks
    }
    tall = height(next(iter(panels.values()), []), shown)
    with style.panels(len(benchmarks), 2.6, tall, labels=shown, sharey=True) as (figure, axes):
        for axis, (benchmark, groups) in zip(axes, panels.items(), strict=True):
            draw_bars(axis, groups, shown, benchmark, floors.get(benchmark), star)
            axis.set_title(names.benchmark(benchmark, scale))
        style.shared_legend(figure, axes, columns=3)
        style.save(figure, stem)
