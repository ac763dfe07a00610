"""Appendix A.2.5 of the paper: the same network from random weights, with as many VLA training steps."""

from __future__ import annotations

from collections.abc import Sequence

from vlm4vla.config.stages import TableSettings
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.paired import draw_variants
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import (
    Row,
    floors,
    measure,
    note_column,
    notes_of,
    pick,
    printed,
    printed_published,
    score_metrics,
)
from vlm4vla.report.rows.paper_numbers import read_published
from vlm4vla.report.rows.table import Block, Table
from vlm4vla.report.tables.inputs import TableInputs

FULL, SCRATCH = "full", "scratch"


def build(inputs: TableInputs) -> Table:
    """The scratch table; draws figures/scratch."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.scale
    variants = [FULL, SCRATCH]
    wanted = [
        (model, variant, benchmark)
        for benchmark in cells.benchmarks
        for model in cells.backbones
        for variant in variants
    ]
    published = read_published(inputs.published, "main")
    rows, gaps = measure(records, wanted, score_metrics(cells.benchmarks), published, scale, settings.seeds)
    contrast.add_contrasts(rows, records, FULL, reference_first=True)
    draw_variants(
        rows,
        cells.backbones,
        variants,
        cells.benchmarks,
        scale,
        floors(records, cells.benchmarks),
        inputs.figures / "scratch",
        labels={FULL: "pre-trained", SCRATCH: "from random weights"},
    )
    return Table(
        name="scratch",
        title=f"Pre-trained against random weights, {scale} scale",
        caption=_caption(rows, settings, variants),
        records=rows,
        blocks=[_block(rows, cells, scale)],
        verdicts=_verdicts(rows, cells, scale),
        gaps=gaps,
        extra=(*contrast.EXTRA, *note_column(scale)),
    )


def _block(rows: Sequence[Row], cells: Cells, scale: str) -> Block:
    grid, rules = [], []
    for benchmark in cells.benchmarks:
        metric = score_metric(benchmark)
        rules.append(len(grid))
        for model in cells.backbones:
            full, scratch = (pick(rows, model, variant, benchmark, metric) for variant in (FULL, SCRATCH))
            grid.append(
                [
                    f"{names.model(model)} on {names.benchmark(benchmark, scale)} ({names.unit(benchmark)})",
                    printed(full),
                    printed_published(full),
                    printed(scratch),
                    contrast.printed_difference(scratch),
                    contrast.printed_test(scratch),
                    contrast.printed_adjusted(scratch),
                ]
            )
    header = [
        "cell",
        "pre-trained",
        "published",
        "random weights",
        "pre-trained minus random",
        "paired test",
        "Holm p",
    ]
    return Block("Cells", header, grid, rules[1:])


def _verdicts(rows: Sequence[Row], cells: Cells, scale: str) -> list[str]:
    found = [row for benchmark in cells.benchmarks for row in contrast.score_rows(rows, SCRATCH, benchmark)]
    if not found:
        return []
    better = [row for row in found if contrast.significant(row, +1)]
    worse = [row for row in found if contrast.significant(row, -1)]
    above = [row for row in found if row["difference"] > 0]
    sentence = (
        f"The pre-trained policy scores significantly higher than the one from random weights in "
        f"{len(better)} of {len(found)} cells and significantly lower in {len(worse)} (paired tests, 5 % "
        f"level after Holm). Without regard to significance, it scores higher in {len(above)}."
    )
    shows = 2 * len(better) > len(found)
    finding = "The paper's finding that training from random weights falls behind "
    return [sentence, finding + ("shows here." if shows else "does not show at this scale.")]


def _caption(rows: Sequence[Row], settings: TableSettings, variants: Sequence[str]) -> str:
    cells, scale = settings.cells, settings.scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        f"Policies from pre-trained backbones against the same networks from random weights, on {shown}.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence([row["metric"] for row in rows], settings.seeds),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows),
        captions.published_sentence("tables 1 and 2 (pre-trained)"),
        captions.agreement_sentence(scale),
        notes_of(rows),
        "The paper states in words that policies from random weights collapse; it gives no table for them.",
    ]
    return " ".join(part for part in parts if part)
