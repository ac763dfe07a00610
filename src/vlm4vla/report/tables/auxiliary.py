"""Figure 4 of the paper: a VLM fine-tuned on an auxiliary task first, then made a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlm4vla.analysis.estimates import by_seed
from vlm4vla.analysis.records import run_of
from vlm4vla.conventions.benchmarks import METRICS, score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.auxiliary import draw_auxiliaries
from vlm4vla.report.figures.generated import copy_generated
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import Cell, Row, measure, pick, printed, printed_published
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.fine_tuned import (
    CAPTION,
    FineTuned,
    own_clause,
    read_fine_tuned,
    tuned_block,
    tuned_gaps,
    tuned_rows,
    unlearnt_sentence,
)
from vlm4vla.report.rows.paper_numbers import read_published_auxiliary
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.study.outputs import generated

SOLVED = METRICS["calvin"][1:]  # success at 1 to 5


def build(
    records: pd.DataFrame,
    settings: Mapping[str, Any],
    published: Path,
    output: Path,
    capability: Sequence[Path],
    auxiliary: Sequence[Path],
) -> Table:
    """The auxiliary table; draws figures/auxiliary under `output`, and puts what decoders drew beside it."""
    cells, scale = settings["cells"], settings["scale"]
    vlms = read_fine_tuned(cells, capability, auxiliary)
    wanted = [cell for benchmark in cells["benchmarks"] for cell in cells_on(benchmark, cells)]
    rows, gaps = measure(
        records, wanted, METRICS, read_published_auxiliary(published), scale, settings["seeds"]
    )
    contrast.add_auxiliary_contrasts(rows, records)
    spread = {cell: by_seed(run_of(records, *cell), score_metric(cell.benchmark)) for cell in wanted}
    draw_auxiliaries(rows, spread, vlms, scale, output / "figures" / "auxiliary")
    for vlm in generated("auxiliary", cells):
        copy_generated(auxiliary, vlm, output / "figures")
    blocks = [_scores(rows, cells, benchmark, scale) for benchmark in cells["benchmarks"]]
    if "calvin" in cells["benchmarks"]:
        blocks.append(_chains(rows, cells, scale))
    return Table(
        name="auxiliary",
        title=f"Auxiliary tasks before control, {scale} scale",
        caption=_caption(rows, settings),
        records=[*rows, *tuned_rows(vlms)],
        blocks=[*blocks, tuned_block(vlms)],
        verdicts=_verdicts(rows, vlms, cells, scale),
        gaps=[*gaps, *tuned_gaps(vlms)],
        extra=("auxiliary", *contrast.EXTRA),
        details={
            "seed_values": [
                {**cell._asdict(), "metric": score_metric(cell.benchmark), "seed": seed, "value": value}
                for cell, values in spread.items()
                for seed, value in values.items()
            ]
        },
    )


def cells_on(benchmark: str, cells: Mapping[str, Any]) -> Iterator[Cell]:
    """The table's cells on one benchmark, in its order."""
    for model in cells["backbones"]:
        for variant in cells["variants"]:
            for auxiliary in cells["auxiliaries"][model]:
                yield Cell(model, variant, benchmark, auxiliary)


def _label(cell: Cell, cells: Mapping[str, Any]) -> str:
    several = f", {names.variant(cell.variant)}" if len(cells["variants"]) > 1 else ""
    return f"{names.model(cell.model)}, {names.auxiliary(cell.auxiliary)}{several}"


def _row(rows: Sequence[Row], cell: Cell, metric: str) -> Row:
    return pick(rows, *cell[:3], metric, cell.auxiliary)


def _rules(shown: Sequence[Cell]) -> list[int]:
    """Rows before which another backbone begins."""
    return [i for i in range(1, len(shown)) if shown[i].model != shown[i - 1].model]


def _scores(rows: Sequence[Row], cells: Mapping[str, Any], benchmark: str, scale: str) -> Block:
    metric, grid = score_metric(benchmark), []
    shown = list(cells_on(benchmark, cells))
    for cell in shown:
        row, paper, base = _row(rows, cell, metric), GAP, None
        if cell.auxiliary != NONE and NONE in cells["auxiliaries"][cell.model]:
            base = _row(rows, cell._replace(auxiliary=NONE), metric)["published"]
        if None not in (row["published"], base):
            paper = names.number(metric, row["published"] - base, signed=True)
        spread = GAP if row["seed_sd"] is None else names.number(metric, row["seed_sd"])
        grid.append(
            [
                _label(cell, cells),
                printed(row),
                spread,
                printed_published(row),
                contrast.printed_difference(row),
                paper,
                contrast.printed_test(row),
                contrast.printed_adjusted(row),
            ]
        )
    header = ["policy", names.unit(metric), "seed deviation", "published", "minus no task", "published"]
    return Block(names.benchmark(benchmark, scale), [*header, "paired test", "Holm p"], grid, _rules(shown))


def _chains(rows: Sequence[Row], cells: Mapping[str, Any], scale: str) -> Block:
    shown = list(cells_on("calvin", cells))
    grid = []
    for cell in shown:
        found = [_row(rows, cell, metric) for metric in SOLVED]
        pairs = [text for row in found for text in (printed(row), printed_published(row))]
        grid.append([_label(cell, cells), *pairs])
    header = ["policy"]
    for count in range(1, 6):
        header += [f"{count} in a row, %", "published"]
    title = f"{names.benchmark('calvin', scale)}: instructions solved in a row"
    return Block(title, header, grid, _rules(shown))


def _verdicts(
    rows: Sequence[Row], vlms: Sequence[FineTuned], cells: Mapping[str, Any], scale: str
) -> list[str]:
    """For each task whether its own score rose and what control did; then how many of them agree."""
    tuned = {(vlm.model, vlm.auxiliary): vlm for vlm in vlms if vlm.auxiliary != NONE}
    sentences, learnt = [], []
    for benchmark in cells["benchmarks"]:
        for cell in cells_on(benchmark, cells):
            row = _row(rows, cell, score_metric(benchmark))
            if row.get("difference") is None:
                continue
            vlm = tuned[cell.model, cell.auxiliary]
            learnt += [row] if vlm.rose else []
            where = names.benchmark(benchmark, scale)
            several = f", {names.variant(cell.variant)}" if len(cells["variants"]) > 1 else ""
            sentences.append(
                f"{vlm.label}{several}: {own_clause(vlm)}; control on {where} {_control(row)} "
                f"({contrast.printed_difference(row)}, {contrast.printed_test(row)})."
            )
    flat = unlearnt_sentence(vlms)
    sentences += [flat] if flat else []
    if learnt:
        rose = sum(contrast.significant(row, +1) for row in learnt)
        fell = sum(contrast.significant(row, -1) for row in learnt)
        sentences.append(
            f"Of {len(learnt)} policies whose task's own score rose, control rose in {rose}, fell in {fell} "
            f"and shows no difference, or none beyond what training seeds make, in "
            f"{len(learnt) - rose - fell} (paired tests, 5 % level after Holm). The paper's finding that a "
            "better own score does not make control better shows in "
            f"{len(learnt) - rose} of {len(learnt)}."
        )
    return sentences


def _control(row: Row) -> str:
    if contrast.significant(row, +1):
        return "rose"
    if contrast.significant(row, -1):
        return "fell"
    if contrast.hinges_on_seeds(row):
        return "shows no difference beyond what training seeds make"
    return "shows no difference"


def _caption(rows: Sequence[Row], settings: Mapping[str, Any]) -> str:
    cells, scale = settings["cells"], settings["scale"]
    shown = names.joined([names.benchmark(name, scale) for name in cells["benchmarks"]])
    parts = [
        f"Backbones fine-tuned on an auxiliary task, then made policies by the same recipe, on {shown}; each "
        "is compared with the same backbone without a task.",
        captions.scale_sentence(scale, settings.get("departures", ())),
        contrast.step_sentence(settings.get("vla_steps"), cells["variants"]),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings["seeds"]),
        captions.intervals_sentence([row["metric"] for row in rows], settings["seeds"]),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows),
        "No difference seen is not equality: the intervals say what remains possible.",
        CAPTION,
        captions.published_sentence("figure 4"),
        captions.agreement_sentence(scale),
        "The paper prints no numbers for it: they are read off the figure, to +-0.002 in each rate (+-0.01 "
        "in the average length).",
    ]
    return " ".join(part for part in parts if part)
