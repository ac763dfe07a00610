"""Table 3 of the paper: the effect of a frozen vision encoder or word embedding."""

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
    cells_on,
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
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs

REFERENCE = "full"
# The paper's finding for each frozen module: -1 is lower everywhere, 0 is about the same.
FINDINGS = {"freeze-vision": -1, "freeze-embedding": 0}


def build(inputs: TableInputs) -> Table:
    """The freeze table; draws figures/freeze."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.scale
    wanted = [cell for benchmark in cells.benchmarks for cell in cells_on(benchmark, cells)]
    published = read_published(inputs.published, "freeze")
    rows, gaps = measure(records, wanted, score_metrics(cells.benchmarks), published, scale, settings.seeds)
    contrast.add_contrasts(rows, records, REFERENCE)
    floor = floors(records, cells.benchmarks)
    draw_variants(
        rows, cells.backbones, cells.variants, cells.benchmarks, scale, floor, inputs.figures / "freeze"
    )
    return Table(
        name="freeze",
        title=f"Frozen modules, {scale} scale",
        caption=_caption(rows, settings),
        records=rows,
        blocks=[_block(rows, cells, benchmark, scale) for benchmark in cells.benchmarks],
        verdicts=_verdicts(rows, cells, scale),
        gaps=gaps,
        extra=(*contrast.EXTRA, *note_column(scale)),
    )


def _block(rows: Sequence[Row], cells: Cells, benchmark: str, scale: str) -> Block:
    metric, grid, rules = score_metric(benchmark), [], []
    for model in cells.backbones:
        full = pick(rows, model, REFERENCE, benchmark, metric) if REFERENCE in cells.variants else None
        rules.append(len(grid))
        for variant in cells.variants:
            row = pick(rows, model, variant, benchmark, metric)
            paper = GAP
            if full and variant != REFERENCE and None not in (row["published"], full["published"]):
                paper = names.number(metric, row["published"] - full["published"], signed=True)
            grid.append(
                [
                    f"{names.model(model)}, {names.variant(variant)}",
                    printed(row),
                    printed_published(row),
                    contrast.printed_difference(row),
                    paper,
                    contrast.printed_test(row),
                    contrast.printed_adjusted(row),
                ]
            )
    header = [
        "model",
        names.unit(benchmark),
        "published",
        "minus all trained",
        "published",
        "paired test",
        "Holm p",
    ]
    return Block(names.benchmark(benchmark, scale), header, grid, rules[1:])


def _verdicts(rows: Sequence[Row], cells: Cells, scale: str) -> list[str]:
    """One sentence per frozen module and benchmark: whether the results show the paper's finding."""
    sentences = []
    for variant, finding in FINDINGS.items():
        for benchmark in cells.benchmarks:
            found = contrast.score_rows(rows, variant, benchmark)
            if not found:
                continue
            lower = [row for row in found if contrast.significant(row, -1)]
            higher = [row for row in found if contrast.significant(row, +1)]
            module = names.variant(variant).removesuffix(" frozen")
            sentence = (
                f"{names.benchmark(benchmark, scale)}: freezing the {module} lowered the score of "
                f"{len(lower)} of {len(found)} backbones and raised the score of {len(higher)} "
                "(paired tests, 5 % level after Holm)"
            )
            if finding < 0:
                shows, claim = len(lower) == len(found), "freezing the vision encoder hurts every backbone"
            else:
                shows = not lower
                claim = "freezing the word embedding costs little"
            sentence += (
                f"; the paper's finding that {claim} "
                + ("shows here" if shows else "does not show at this scale")
                + "."
            )
            sentences.append(sentence)
    return sentences


def _caption(rows: Sequence[Row], settings: TableSettings) -> str:
    cells, scale = settings.cells, settings.scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        f"Policies whose vision encoder or word embedding keeps the backbone's weights, on {shown}.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, cells.variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence([row["metric"] for row in rows], settings.seeds),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows),
        captions.published_sentence("table 3"),
        captions.agreement_sentence(scale),
        notes_of(rows),
    ]
    return " ".join(part for part in parts if part)
