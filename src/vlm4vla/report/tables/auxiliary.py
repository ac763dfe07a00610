"""Figure 4 of the paper: a VLM is first fine-tuned on an auxiliary task, then becomes a policy."""

from __future__ import annotations

from collections.abc import Sequence

from vlm4vla.analysis.estimates import by_seed
from vlm4vla.analysis.records import cell_records
from vlm4vla.config.stages import TableSettings
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import facts, metrics, score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.auxiliary import draw_auxiliaries
from vlm4vla.report.figures.generated import copy_generated
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import Cell, Row, cells_on, measure, pick, printed, printed_published
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.decisions import (
    EQUIVALENT,
    HIGHER,
    LOWER,
    concerning,
    equivalence_words,
    gains,
    is_tested,
    opposite,
    outcome,
    outcome_counts,
    tally,
)
from vlm4vla.report.rows.fine_tuned import (
    CAPTION,
    FineTuned,
    fine_tuned_block,
    fine_tuned_gaps,
    fine_tuned_rows,
    not_learnt,
    not_learnt_sentence,
    own_score_clause,
    read_fine_tuned,
    vlms_in,
)
from vlm4vla.report.rows.hinges import examine
from vlm4vla.report.rows.paper_numbers import read_published_auxiliary
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs
from vlm4vla.study.outputs import generated


def build(inputs: TableInputs) -> Table:
    """The auxiliary table; draws figures/auxiliary, and copies the backbones' pages of generated images."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.study_scale
    vlms = read_fine_tuned(vlms_in(cells), inputs.capability, inputs.auxiliary)
    wanted = [cell for benchmark in cells.benchmarks for cell in cells_on(benchmark, cells)]
    reported = {name: metrics(name) for name in cells.benchmarks}
    rows, gaps = measure(
        records, wanted, reported, read_published_auxiliary(inputs.published), scale, settings.seeds
    )
    contrast.add_auxiliary_contrasts(rows, records, settings.analysis.margin, not_learnt(vlms))
    hinges = examine(rows, contrast.auxiliary_sides(records), settings.analysis.margin, scale)
    spread = {cell: by_seed(cell_records(records, *cell), score_metric(cell.benchmark)) for cell in wanted}
    draw_auxiliaries(rows, spread, vlms, scale, inputs.figures / "auxiliary")
    for backbone in generated("auxiliary", cells.auxiliaries):
        copy_generated(inputs.auxiliary, backbone, inputs.figures)
    blocks = [_scores(rows, cells, benchmark, scale) for benchmark in cells.benchmarks]
    chains = [name for name in cells.benchmarks if facts(name).is_chain]
    blocks += [_chains(rows, cells, name, scale) for name in chains]
    return Table(
        name="auxiliary",
        title=f"Auxiliary tasks before control, {scale} scale",
        caption=_caption(rows, settings),
        records=[*rows, *fine_tuned_rows(vlms)],
        blocks=[*blocks, fine_tuned_block(vlms)],
        verdicts=[
            *_verdicts(rows, vlms, cells, scale, settings.analysis.margin, settings.seeds),
            *hinges.sentences,
        ],
        gaps=[*gaps, *fine_tuned_gaps(vlms)],
        extra=("auxiliary", *contrast.EXTRA),
        details={
            "hinges": hinges.records,
            "seed_values": [
                {**cell._asdict(), "metric": score_metric(cell.benchmark), "seed": seed, "value": value}
                for cell, values in spread.items()
                for seed, value in values.items()
            ],
        },
    )


def _label(cell: Cell, cells: Cells) -> str:
    variant = f", {names.variant(cell.variant)}" if len(cells.variants) > 1 else ""
    return f"{names.model(cell.model)}, {names.auxiliary(cell.auxiliary)}{variant}"


def _row(rows: Sequence[Row], cell: Cell, metric: str) -> Row:
    return pick(rows, *cell[:3], metric, cell.auxiliary)


def _rules(shown: Sequence[Cell]) -> list[int]:
    """The rows at which the next backbone begins."""
    return [i for i in range(1, len(shown)) if shown[i].model != shown[i - 1].model]


def _scores(rows: Sequence[Row], cells: Cells, benchmark: str, scale: str) -> Block:
    metric, grid = score_metric(benchmark), []
    shown = cells_on(benchmark, cells)
    for cell in shown:
        row, paper, base = _row(rows, cell, metric), GAP, None
        if cell.auxiliary != NONE and NONE in cells.auxiliaries[cell.model]:
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
    header = ["policy", names.unit(benchmark), "seed deviation", "published", "minus no task"]
    return Block(
        names.benchmark(benchmark, scale),
        [*header, "published difference", "paired test", "Holm p"],
        grid,
        _rules(shown),
    )


def _chains(rows: Sequence[Row], cells: Cells, benchmark: str, scale: str) -> Block:
    rates = metrics(benchmark)[1:]
    shown = cells_on(benchmark, cells)
    grid = []
    for cell in shown:
        found = [_row(rows, cell, rate) for rate in rates]
        pairs = [text for row in found for text in (printed(row), printed_published(row))]
        grid.append([_label(cell, cells), *pairs])
    header = ["policy"]
    for count in range(1, len(rates) + 1):
        header += [f"{count} in a row, %", "published"]
    title = f"{names.benchmark(benchmark, scale)}: instructions solved in a row"
    return Block(title, header, grid, _rules(shown))


def _verdicts(
    rows: Sequence[Row],
    vlms: Sequence[FineTuned],
    cells: Cells,
    scale: str,
    margin: float,
    seeds: Sequence[int],
) -> list[str]:
    """For each task, how its own score and control changed; then how many tasks agree."""
    fine_tuned = {(vlm.model, vlm.auxiliary): vlm for vlm in vlms if vlm.auxiliary != NONE}
    sentences, found = [], []
    for benchmark in cells.benchmarks:
        for cell in cells_on(benchmark, cells):
            row = _row(rows, cell, score_metric(benchmark))
            if row.get("difference") is None:
                continue
            vlm = fine_tuned[cell.model, cell.auxiliary]
            found.append(row)
            variant = f", {names.variant(cell.variant)}" if len(cells.variants) > 1 else ""
            sentences.append(
                f"{vlm.label}{variant}: {own_score_clause(vlm)}; control on "
                f"{names.benchmark(benchmark, scale)} {_control(row)} "
                f"({contrast.printed_difference(row)}, {contrast.printed_test(row)})."
            )
    flat = not_learnt_sentence(vlms)
    sentences += [flat] if flat else []
    learnt = [row for row in found if is_tested(row)]
    if learnt:
        here = tally(learnt, lambda row: opposite(gains(row, margin))).here
        sentences.append(
            f"Of {len(learnt)} policies whose task's own score rose, control is "
            f"{outcome_counts(learnt, margin)} (paired tests, 5 % level after Holm; equivalent within "
            f"{equivalence_words(margin)}). The paper's finding that a better own score does not improve "
            f"control {here}, {concerning(seeds)}."
        )
    return sentences


def _control(row: Row) -> str:
    if not is_tested(row):
        return "is not tested"
    words = {HIGHER: "rose", LOWER: "fell", EQUIVALENT: "is equivalent"}
    if outcome(row) in words:
        return words[outcome(row)]
    if contrast.hinges_on_seeds(row):
        return f"changed in these trained policies, but it cannot be told with {row['shared_seeds']} seeds"
    return f"is not shown to change with {row['states']} initial states"


def _caption(rows: Sequence[Row], settings: TableSettings) -> str:
    cells, scale = settings.cells, settings.study_scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        "Backbones are fine-tuned on an auxiliary task and then become policies by the same recipe, on "
        f"{shown}. Each policy is compared with that of the same backbone without a task.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, cells.variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(rows),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows, settings.analysis.margin),
        CAPTION,
        captions.published_sentence("figure 4"),
        captions.agreement_sentence(scale),
        "The paper prints no numbers for this figure: they are read off to ±0.002 in each rate (±0.01 in "
        "the average length).",
    ]
    return " ".join(part for part in parts if part)
