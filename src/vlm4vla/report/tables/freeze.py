"""Table 3 of the paper: the effect of a frozen vision encoder or word embedding."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from vlm4vla.analysis.interactions import Effect
from vlm4vla.config.stages import TableSettings
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.paired import draw_variants
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import (
    Cell,
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
    seed_spreads,
)
from vlm4vla.report.rows.decisions import (
    concerning,
    equivalence_words,
    loses,
    loses_little,
    outcome_counts,
    tally,
)
from vlm4vla.report.rows.hinges import examine
from vlm4vla.report.rows.interactions import Pair, interaction_records
from vlm4vla.report.rows.paper_numbers import read_published
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs

REFERENCE = "full"
# The paper's finding for each frozen module, and what a row says about it.
FINDINGS = {
    "freeze-vision": ("freezing the vision encoder hurts every backbone", loses),
    "freeze-embedding": ("freezing the word embedding costs little", loses_little),
}


def build(inputs: TableInputs) -> Table:
    """The freeze table; draws figures/freeze."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.study_scale
    wanted = [cell for benchmark in cells.benchmarks for cell in cells_on(benchmark, cells)]
    published = read_published(inputs.published, "freeze")
    rows, gaps = measure(records, wanted, score_metrics(cells.benchmarks), published, scale, settings.seeds)
    margin = settings.analysis.margin
    contrast.add_contrasts(rows, records, REFERENCE, margin)
    tested = _interactions(rows, records, wanted, margin)
    hinges = examine(rows, contrast.variant_sides(records, REFERENCE), margin, scale)
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
        verdicts=[
            *_verdicts(rows, cells, scale, margin, settings.seeds),
            *_modules(tested, scale, margin, settings.seeds),
            *hinges.sentences,
        ],
        gaps=gaps,
        extra=(*contrast.EXTRA, *note_column(scale)),
        details={"interactions": tested, "hinges": hinges.records},
    )


def _interactions(
    rows: Sequence[Row], records: pd.DataFrame, wanted: Sequence[Cell], margin: float
) -> list[Row]:
    """For each backbone and benchmark, the effect of a frozen vision encoder minus that of a frozen word
    embedding, as one test on the same initial states."""
    benchmarks = list(dict.fromkeys(cell.benchmark for cell in wanted))
    spreads = seed_spreads(records, wanted, score_metrics(benchmarks))
    sides, pairs = contrast.variant_sides(records, REFERENCE), []
    for benchmark in benchmarks:
        vision, embedding = (
            {row["model"]: row for row in contrast.score_rows(rows, variant, benchmark)}
            for variant in FINDINGS
        )
        for model in [model for model in vision if model in embedding]:
            one, other = vision[model], embedding[model]
            spread = spreads[benchmark, score_metric(benchmark)]
            pairs.append(Pair(one, Effect(*sides(one)), other, Effect(*sides(other)), spread))
    return interaction_records(pairs, margin)


def _modules(tested: Sequence[Row], scale: str, margin: float, seeds: Sequence[int]) -> list[str]:
    """One sentence per benchmark: which of the two modules costs more when it is frozen."""
    sentences = []
    for benchmark in dict.fromkeys(test["benchmark"] for test in tested):
        own = [test for test in tested if test["benchmark"] == benchmark]
        sentences.append(
            f"{names.benchmark(benchmark, scale)}: the score with a frozen vision encoder, compared with "
            f"that with a frozen word embedding, is {outcome_counts(own, margin)} (both effects as one "
            f"difference on the same initial states, 5 % level after Holm over these comparisons; "
            f"equivalent within {equivalence_words(margin)}), {concerning(seeds)}."
        )
    return sentences


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
        "published difference",
        "paired test",
        "Holm p",
    ]
    return Block(names.benchmark(benchmark, scale), header, grid, rules[1:])


def _verdicts(
    rows: Sequence[Row], cells: Cells, scale: str, margin: float, seeds: Sequence[int]
) -> list[str]:
    """One sentence per frozen module and benchmark: whether the results show the paper's finding."""
    sentences = []
    for variant, (claim, judge) in FINDINGS.items():
        for benchmark in cells.benchmarks:
            found = contrast.score_rows(rows, variant, benchmark)
            if not found:
                continue
            count = tally(found, lambda row, judge=judge: judge(row, margin))
            here, backbones = count.here, len(cells.backbones)
            if 0 < count.tested < backbones:  # "every backbone" must not cover those without a test
                here += f" in the {count.tested} of {backbones} backbones that are tested"
            sentences.append(
                f"{names.benchmark(benchmark, scale)}: with the {names.variant(variant)}, the score is "
                f"{outcome_counts(found, margin)} (paired tests, 5 % level after Holm; equivalent within "
                f"{equivalence_words(margin)}); the paper's finding that {claim} {here}, {concerning(seeds)}."
            )
    return sentences


def _caption(rows: Sequence[Row], settings: TableSettings) -> str:
    cells, scale = settings.cells, settings.study_scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        f"Policies whose vision encoder or word embedding keeps the backbone's weights, on {shown}.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, cells.variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(rows),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows, settings.analysis.margin),
        captions.published_sentence("table 3"),
        captions.agreement_sentence(scale),
        notes_of(rows),
    ]
    return " ".join(part for part in parts if part)
