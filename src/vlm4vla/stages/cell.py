"""One cell of the study as a small table: any backbone, auxiliary task, variant and benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlm4vla.analysis.records import read_episodes
from vlm4vla.config.stages import CellSettings
from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, metrics
from vlm4vla.report import captions, names
from vlm4vla.report.rows import fine_tuned
from vlm4vla.report.rows.cells import Cell, Row, measure, printed
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.paper_numbers import Published
from vlm4vla.report.rows.table import Block, Table
from vlm4vla.study.layout import run_of


def run(
    settings: CellSettings,
    *,
    episodes: Sequence[Path],
    capability: Sequence[Path],
    auxiliary: Sequence[Path],
    output: Path,
) -> None:
    """Write the cell's tidy rows to `output` (.csv), and a table for readers to .md and .tex next to it.

    `episodes`: one episodes.parquet per training seed. `capability`: the scores of the base VLM and of the
    fine-tuned VLM. `auxiliary`: the folder of the fine-tuned VLM, or its provenance.json. Both are empty
    without an auxiliary task. Raises UserError for files that cannot be read or belong to another study.
    """
    cell = Cell(settings.model, settings.variant, settings.benchmark, settings.auxiliary)
    records = read_episodes(episodes, study=settings.study, scale=settings.scale, run_of=run_of)
    reported = {cell.benchmark: metrics(cell.benchmark)}
    rows, gaps = measure(records, [cell], reported, Published({}, {}), settings.study_scale, settings.seeds)
    blocks = [
        Block(
            "Policy",
            ["metric", "measured"],
            [[_metric_label(row), printed(row)] for row in rows],
        )
    ]
    if settings.auxiliary != NONE and auxiliary:
        vlms = fine_tuned.read_fine_tuned([(cell.model, cell.auxiliary)], capability, auxiliary)
        rows += fine_tuned.fine_tuned_rows(vlms)
        blocks.append(fine_tuned.fine_tuned_block(vlms))
    caption = [
        captions.scale_sentence(settings.scale, settings.departures),
        captions.episodes_sentence(rows, settings.study_scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(rows),
        fine_tuned.CAPTION if len(blocks) > 1 else "",
    ]
    table = Table(
        name="-".join(cell),
        title=cell.label(settings.study_scale),
        caption=" ".join(part for part in caption if part),
        records=rows,
        blocks=blocks,
        verdicts=[],
        gaps=gaps,
        extra=("auxiliary", "seed_sd"),
    )
    table.write(output.parent, output.stem)


def _metric_label(row: Row) -> str:
    return names.metric(row["benchmark"], row["metric"]) + ("" if row["metric"] == AVERAGE_LENGTH else ", %")
