"""Variants of the same backbones side by side: bars with intervals, one panel per benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows import contrasts as contrast
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
    """Write `stem`.{pdf,png}: a group of bars per backbone.

    A star marks a significant paired difference to `full` (Holm's p below 0.05). The dotted line is the score
    of random actions (`floors`, by benchmark).
    """
    with style.panels(len(benchmarks), 4.2, 3.4) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            _panel(axis, rows, models, variants, benchmark, labels, floors.get(benchmark))
            axis.set_title(f"{names.benchmark(benchmark, scale)}   (* paired, Holm p < 0.05)", fontsize=9)
        style.shared_legend(figure, axes)
        style.save(figure, stem)


def _panel(
    axis: Any,
    rows: Sequence[Row],
    models: Sequence[str],
    variants: Sequence[str],
    benchmark: str,
    labels: Mapping[str, str],
    floor: float | None,
) -> None:
    metric = score_metric(benchmark)
    factor = names.factor(metric)
    width = 0.8 / len(variants)
    top = 0.0
    for group, model in enumerate(models):
        for index, variant in enumerate(variants):
            x = group + (index - (len(variants) - 1) / 2) * width
            row = pick(rows, model, variant, benchmark, metric)
            if row["value"] is None:
                axis.text(x, 0, "not measured ", rotation=90, va="bottom", ha="center", color=style.GREY)
                continue
            value, low, high = (factor * row[key] for key in ("value", "ci_low", "ci_high"))
            top = max(top, high)
            axis.bar(
                x,
                value,
                0.92 * width,
                yerr=[[value - low], [high - value]],
                color=style.VARIANT_COLOURS.get(variant, style.GREEN),
                error_kw={"elinewidth": 1.1, "capsize": 2.5},
                label=labels.get(variant, variant),
            )
            if contrast.significant(row, 1) or contrast.significant(row, -1):
                axis.annotate("*", (x, high), ha="center", va="bottom", fontsize=11)
    if floor is not None:
        axis.axhline(factor * floor, color=style.BLACK, linestyle=":", linewidth=1, label="random actions")
    axis.set_xticks(range(len(models)), [names.model(model) for model in models])
    axis.set_xlim(-0.6, len(models) - 0.4)
    axis.set_ylim(0, 1.12 * top if top else 1)
    axis.grid(axis="x", visible=False)
    axis.set_ylabel(names.unit(benchmark))
