"""The main table as a dot plot: one row per model, one panel per benchmark, horizontal intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlm4vla.conventions.benchmarks import maximum, score_metric
from vlm4vla.report import names
from vlm4vla.report.figures import style
from vlm4vla.report.rows.cells import CEILING, FLOOR, Row, pick


def draw_overview(
    rows: Sequence[Row],
    policies: Sequence[tuple[str, str]],
    benchmarks: Sequence[str],
    scale: str,
    stem: Path,
    rules: Sequence[int],
) -> None:
    """Write `stem`.{pdf,png}: measured values with 95 % intervals, and the published values.

    `rules`: indices of the policies before which a line is drawn.
    """
    several_variants = len({variant for _, variant in policies}) > 1
    labels = style.wrapped(
        [
            names.model(model)
            + (f", {names.variant(variant)}" if several_variants and model not in (FLOOR, CEILING) else "")
            for model, variant in policies
        ]
    )
    inches = 1.3 + style.row_height(labels, 0.3) * len(policies)
    with style.panels(len(benchmarks), 2.5, inches, labels=labels, sharey=True) as (figure, axes):
        for axis, benchmark in zip(axes, benchmarks, strict=True):
            _panel(axis, rows, policies, benchmark, scale, rules)
        axes[0].set_yticks(range(len(policies)), labels)
        axes[0].set_ylim(len(policies) - 0.4, -0.6)
        style.shared_legend(figure, axes, columns=3)
        style.save(figure, stem)


def _panel(
    axis: object,
    rows: Sequence[Row],
    policies: Sequence[tuple[str, str]],
    benchmark: str,
    scale: str,
    rules: Sequence[int],
) -> None:
    metric = score_metric(benchmark)
    factor = names.factor(metric)
    most = factor * maximum(benchmark, metric)
    for height, policy in enumerate(policies):
        row = pick(rows, *policy, benchmark, metric)
        reference = policy[0] in (FLOOR, CEILING)
        published = None if row["published"] is None else factor * row["published"]
        if row["value"] is None:
            # Behind a published value in the same place
            start = published if published is not None and published < 0.5 * most else 0
            axis.text(start + 0.03 * most, height, "not measured", va="center", color=style.GREY, fontsize=7)
        else:
            value, low, high = (factor * row[key] for key in ("value", "ci_low", "ci_high"))
            axis.errorbar(
                value,
                height,
                xerr=[[value - low], [high - value]],
                fmt="s" if reference else "o",
                markersize=5,
                color=style.GREY if reference else style.BLUE,
                elinewidth=1.4,
                label="floor and ceiling" if reference else "measured, 95 % interval",
            )
            if value == 0:
                style.zero(axis, 0, height)
        if published is not None:
            axis.plot(published, height, **style.PUBLISHED)
    for line in rules:
        axis.axhline(line - 0.5, color=style.GREY, linewidth=0.8)
    axis.set_xlim(-0.08 * most, 1.04 * most)
    axis.set_xlabel(names.unit(benchmark))
    axis.set_title(names.benchmark(benchmark, scale))
