"""Appendix A.2.5 of the paper: the same network from random weights, with as many VLA training steps."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from vlm4vla.analysis.records import cell_records
from vlm4vla.analysis.shares import share
from vlm4vla.config.analysis import Margins
from vlm4vla.config.stages import TableSettings
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.paired import draw_variants
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import (
    Cell,
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
from vlm4vla.report.rows.decisions import (
    collapses,
    concerning,
    equivalence_words,
    gains,
    outcome_counts,
    tally,
)
from vlm4vla.report.rows.hinges import examine
from vlm4vla.report.rows.paper_numbers import read_published
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs

FULL, SCRATCH = "full", "scratch"
SHARE = ("share", "share_ci_low", "share_ci_high")


def build(inputs: TableInputs) -> Table:
    """The scratch table; draws figures/scratch."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.study_scale
    variants = [FULL, SCRATCH]
    wanted = [
        (model, variant, benchmark)
        for benchmark in cells.benchmarks
        for model in cells.backbones
        for variant in variants
    ]
    published = read_published(inputs.published, "main")
    rows, gaps = measure(records, wanted, score_metrics(cells.benchmarks), published, scale, settings.seeds)
    contrast.add_contrasts(rows, records, FULL, settings.analysis.margin, reference_first=True)
    _add_shares(rows, records)
    sides = contrast.variant_sides(records, FULL, reference_first=True)
    hinges = examine(rows, sides, settings.analysis.margin, scale)
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
        verdicts=[*_verdicts(rows, cells, settings.analysis, settings.seeds), *hinges.sentences],
        gaps=gaps,
        extra=(*contrast.EXTRA, *SHARE, *note_column(scale)),
        details={"hinges": hinges.records},
    )


def _add_shares(rows: Sequence[Row], records: pd.DataFrame) -> None:
    """Add to each row from random weights its share of the pre-trained policy's score (in place)."""
    for row in rows:
        if row.get("difference") is not None:
            cell = Cell(*(row[key] for key in Cell._fields))
            own = cell_records(records, *cell)
            found = share(own, cell_records(records, *cell._replace(variant=FULL)), row["metric"])
            numbers = (found.value, found.ci_low, found.ci_high) if found else (None, None, None)
            row |= dict(zip(SHARE, numbers, strict=True))


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
                    _printed_share(scratch),
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
        "share of pre-trained, %",
        "paired test",
        "Holm p",
    ]
    return Block("Cells", header, grid, rules[1:])


def _printed_share(row: Row) -> str:
    """`23 [18, 31]`, in percent; a limit that is not known is a dash."""
    if row.get("share") is None:
        return GAP
    value, low, high = (GAP if row[key] is None else f"{100 * row[key]:.0f}" for key in SHARE)
    return f"{value} [{low}, {high}]"


def _verdicts(rows: Sequence[Row], cells: Cells, margins: Margins, seeds: Sequence[int]) -> list[str]:
    """Whether policies from random weights fall behind, and whether they collapse."""
    found = [row for benchmark in cells.benchmarks for row in contrast.score_rows(rows, SCRATCH, benchmark)]
    if not found:
        return []
    behind = tally(found, lambda row: gains(row, margins.margin))
    collapse = tally(found, lambda row: collapses(row, margins.collapse))
    about, counts = concerning(seeds), outcome_counts(found, margins.margin)
    part = f"{100 * margins.collapse:g} % of the pre-trained policy's score"
    return [
        f"The score of the pre-trained policy, against that from random weights, is {counts} (paired "
        f"tests, 5 % level after Holm; equivalent within {equivalence_words(margins.margin)}).",
        f"The paper's finding that training from random weights falls behind {behind.here}, {about}.",
        f"The paper's finding that training from random weights collapses (the interval of its share lies "
        f"below {part}) {collapse.here}, {about}.",
    ]


def _caption(rows: Sequence[Row], settings: TableSettings, variants: Sequence[str]) -> str:
    cells, scale = settings.cells, settings.study_scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        f"Policies from pre-trained backbones against the same networks from random weights, on {shown}.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(rows),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows, settings.analysis.margin),
        captions.published_sentence("tables 1 and 2 (pre-trained)"),
        captions.agreement_sentence(scale),
        notes_of(rows),
        "Share of pre-trained: the score of the policy from random weights divided by that of the "
        "pre-trained policy, with a 95 % interval from the paired initial states (after Fieller 1954). A "
        f"{GAP} in this interval: it has no upper limit, because the pre-trained policy may solve nothing.",
        "The paper states in words that policies from random weights collapse; it gives no table for them.",
    ]
    return " ".join(part for part in parts if part)
