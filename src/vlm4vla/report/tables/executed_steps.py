"""The number of chunk steps that are executed before the policy predicts again, a choice of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vlm4vla.analysis.paired import table_spread
from vlm4vla.analysis.records import cell_records, read_episodes
from vlm4vla.analysis.seed_spread import SeedSpread
from vlm4vla.config.stages import TableSettings
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.steps import draw_executed_steps
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import (
    FLOOR,
    Cell,
    Row,
    cells_on,
    floors,
    measure,
    note_column,
    notes_of,
    printed,
    printed_published,
    score_metrics,
)
from vlm4vla.report.rows.decisions import concerning, equivalence_words, outcome_counts
from vlm4vla.report.rows.hinges import Hinges, examine
from vlm4vla.report.rows.paper_numbers import Published, read_published
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs
from vlm4vla.study.layout import run_of

NO_RECORDS = read_episodes([])


def build(inputs: TableInputs) -> Table:
    """The table of executed steps; draws figures/executed_steps.

    The episodes are those of every policy with every number of executed steps, and of random actions. Only
    the rows with the number of steps that the other tables use are compared with the published numbers.
    """
    settings = inputs.settings
    cells, scale, horizons = settings.cells, settings.study_scale, settings.horizons
    by_steps = _records_by_steps(inputs)
    published, nothing = read_published(inputs.published, "main"), Published({}, {})
    rows: list[Row] = []
    gaps: list[str] = []
    floor = {}
    for benchmark in cells.benchmarks:
        first = horizons[benchmark][0]
        wanted = cells_on(benchmark, cells)
        for steps in horizons[benchmark]:
            records = by_steps.get((benchmark, steps), NO_RECORDS)
            paper = published if steps == first else nothing
            measured, missing = measure(
                records, wanted, score_metrics([benchmark]), paper, scale, settings.seeds
            )
            rows += [row | {"executed": steps} for row in measured]
            gaps += [f"{each}, {steps} steps executed" for each in missing]
        floor |= floors(by_steps.get((benchmark, first), NO_RECORDS), [benchmark])
    hinges = _add_contrasts(rows, by_steps, settings)
    labels = {(row["model"], row["variant"]): _label(row, cells) for row in rows}
    draw_executed_steps(rows, cells.benchmarks, labels, scale, floor, inputs.figures / "executed_steps")
    return Table(
        name="executed_steps",
        title=f"Executed steps of a chunk, {scale} scale",
        caption=_caption(rows, settings),
        records=rows,
        blocks=[_block(rows, cells, name, horizons[name], scale) for name in cells.benchmarks],
        verdicts=[
            *(_verdict(rows, name, horizons[name], settings) for name in cells.benchmarks),
            *hinges.sentences,
        ],
        gaps=gaps,
        extra=("executed", *contrast.EXTRA, *note_column(scale)),
        details={"hinges": hinges.records},
    )


def _add_contrasts(
    rows: Sequence[Row], by_steps: Mapping[tuple[str, int], pd.DataFrame], settings: TableSettings
) -> Hinges:
    """Compare each policy with itself at the number of steps that the other tables execute.

    The differences are added to the rows (in place). Holm's correction covers all of them.
    """
    cells, horizons, margin = settings.cells, settings.horizons, settings.analysis.margin

    def records_of(row: Row, steps: int) -> pd.DataFrame:
        cell = Cell(*(row[key] for key in Cell._fields))
        return cell_records(by_steps.get((row["benchmark"], steps), NO_RECORDS), *cell)

    def sides(row: Row) -> tuple[pd.DataFrame, pd.DataFrame]:
        return records_of(row, row["executed"]), records_of(row, horizons[row["benchmark"]][0])

    spreads: dict[tuple[str, str], SeedSpread | None] = {}
    floor = []
    for benchmark in cells.benchmarks:
        metric = score_metric(benchmark)
        of_benchmark = [records_of(row, row["executed"]) for row in rows if row["benchmark"] == benchmark]
        spreads[benchmark, metric] = table_spread(of_benchmark, metric)
        usual = by_steps.get((benchmark, horizons[benchmark][0]), NO_RECORDS)
        floor.append(cell_records(usual, FLOOR, "full", benchmark))
    others = [row for row in rows if row["executed"] != horizons[row["benchmark"]][0]]
    contrast.add_step_contrasts(others, sides, spreads, pd.concat(floor), margin)
    return examine(rows, sides, margin, settings.study_scale)


def _records_by_steps(inputs: TableInputs) -> dict[tuple[str, int], pd.DataFrame]:
    """The records by benchmark and executed steps. Each group is checked like the records of one table."""
    paths: dict[tuple[str, int], list[Path]] = {}
    own = {"study": inputs.settings.study, "scale": inputs.settings.scale}
    for path in inputs.episodes:
        first = read_episodes([path], run_of=run_of, **own).iloc[0]
        paths.setdefault((first["benchmark"], int(first["execution_horizon"])), []).append(path)
    return {key: read_episodes(files, **own) for key, files in paths.items()}


def _rows_with(rows: Sequence[Row], benchmark: str, steps: int) -> list[Row]:
    """The rows of `benchmark` with that number of executed steps, in the order of the policies."""
    return [row for row in rows if row["benchmark"] == benchmark and row["executed"] == steps]


def _block(rows: Sequence[Row], cells: Cells, benchmark: str, steps: Sequence[int], scale: str) -> Block:
    unit = names.unit(benchmark)
    header = ["model", *(f"{count} executed: {unit}" for count in sorted(steps)), "published"]
    others = sorted(steps[1:])
    for count in others:
        header += [f"{count} minus {steps[0]}", "Holm p"]
    grid = []
    for index, row in enumerate(_rows_with(rows, benchmark, steps[0])):
        line = [_label(row, cells)]
        line += [printed(_rows_with(rows, benchmark, count)[index]) for count in sorted(steps)]
        line.append(printed_published(row))
        for other in (_rows_with(rows, benchmark, count)[index] for count in others):
            p = contrast.printed_adjusted(other)
            line += [contrast.printed_difference(other), contrast.printed_test(other) if p == GAP else p]
        grid.append(line)
    return Block(names.benchmark(benchmark, scale), header, grid)


def _label(row: Row, cells: Cells) -> str:
    with_variant = len(cells.variants) > 1
    return names.model(row["model"]) + (f", {names.variant(row['variant'])}" if with_variant else "")


def _verdict(rows: Sequence[Row], benchmark: str, steps: Sequence[int], settings: TableSettings) -> str:
    """The means over the policies that were measured with every number of steps, and what the tests decide.

    Each other number of steps is compared with the one that the other tables use, for every policy.
    """
    columns = [_rows_with(rows, benchmark, count) for count in sorted(steps)]
    complete = [line for line in zip(*columns, strict=True) if all(row["value"] is not None for row in line)]
    shown, margin = names.benchmark(benchmark, settings.study_scale), settings.analysis.margin
    if not complete:
        return f"{shown}: not measured at every number of executed steps."
    metric = score_metric(benchmark)
    means = [sum(line[index]["value"] for line in complete) / len(complete) for index in range(len(columns))]
    listed = [
        f"{names.number(metric, mean)} with {count}" for mean, count in zip(means, sorted(steps), strict=True)
    ]
    parts = [
        f"{shown}: the mean ({names.unit(benchmark)}) over {len(complete)} policies is "
        f"{names.joined(listed)} executed steps. The other tables execute {steps[0]}."
    ]
    for count in sorted(steps[1:]):
        found = [row for row in _rows_with(rows, benchmark, count) if row.get("difference") is not None]
        if found:
            parts.append(
                f"With {count} instead of {steps[0]}, the score is {outcome_counts(found, margin)} "
                f"{concerning(settings.seeds)} (paired tests, 5 % level after Holm; equivalent within "
                f"{equivalence_words(margin)})."
            )
    return " ".join(parts)


def _caption(rows: Sequence[Row], settings: TableSettings) -> str:
    cells, scale = settings.cells, settings.study_scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        f"The same policies on {shown}. They execute fewer or more steps of a predicted chunk before they "
        "predict again.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, cells.variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(rows),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows, settings.analysis.margin),
        captions.published_sentence("tables 1 and 2"),
        captions.agreement_sentence(scale),
        notes_of(rows),
    ]
    return " ".join(part for part in parts if part)
