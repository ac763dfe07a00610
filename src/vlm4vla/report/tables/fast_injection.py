"""Table 4 of the paper: a VLM first learns to predict FAST action tokens, then becomes a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm4vla.config.stages import TableSettings
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.fast_injection import draw_fast_injection
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.auxiliary_scores import read_fast_report
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
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.fine_tuned import (
    CAPTION,
    FineTuned,
    fine_tuned_block,
    fine_tuned_gaps,
    fine_tuned_rows,
    not_learnt_sentence,
    own_score_clause,
    read_fine_tuned,
    vlms_in,
)
from vlm4vla.report.rows.paper_numbers import read_published_fast
from vlm4vla.report.rows.table import Block, Table
from vlm4vla.report.tables.inputs import TableInputs

VLA_VISION = {"freeze-vision": "VLA's vision encoder frozen", "full": "VLA's vision encoder trained"}
FROZEN, TRAINED = "fast-freeze-vision", "fast-unfreeze-vision"


def build(inputs: TableInputs) -> Table:
    """The FAST injection table; draws figures/fast_injection."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.scale
    vlms = read_fine_tuned(vlms_in(cells), inputs.capability, inputs.auxiliary)
    tokens = read_fast_report(inputs.fast[0]) if inputs.fast else None
    wanted = [cell for benchmark in cells.benchmarks for cell in cells_on(benchmark, cells)]
    published = read_published_fast(inputs.published)
    rows, gaps = measure(records, wanted, score_metrics(cells.benchmarks), published, scale, settings.seeds)
    contrast.add_auxiliary_contrasts(rows, records)
    floor = floors(records, cells.benchmarks)
    draw_fast_injection(rows, wanted, VLA_VISION, scale, floor, inputs.figures / "fast_injection")
    blocks = [_grid(rows, cells, benchmark, scale) for benchmark in cells.benchmarks]
    return Table(
        name="fast_injection",
        title=f"Action knowledge through FAST tokens, {scale} scale",
        caption=_caption(rows, settings, tokens),
        records=[*rows, *fine_tuned_rows(vlms)],
        blocks=[*blocks, fine_tuned_block(vlms)],
        verdicts=_verdicts(rows, vlms, cells, scale),
        gaps=[*gaps, *fine_tuned_gaps(vlms), *([] if tokens else ["round trip of the FAST tokens"])],
        extra=("auxiliary", *contrast.EXTRA, *note_column(scale)),
        details={"fast": tokens},
    )


def _variant_label(variant: str) -> str:
    return VLA_VISION.get(variant, names.variant(variant))


def _grid(rows: Sequence[Row], cells: Cells, benchmark: str, scale: str) -> Block:
    """One row per auxiliary task of the VLM, one group of columns per variant of the VLA."""
    metric, grid, rules = score_metric(benchmark), [], []
    for model in cells.backbones:
        rules.append(len(grid))
        for task in cells.auxiliaries[model]:
            line = [f"{names.model(model)}, {names.auxiliary(task)}"]
            for variant in cells.variants:
                row = pick(rows, model, variant, benchmark, metric, task)
                line += [
                    printed(row),
                    printed_published(row),
                    contrast.printed_difference(row),
                    contrast.printed_test(row),
                    contrast.printed_adjusted(row),
                ]
            grid.append(line)
    header = ["VLM fine-tuned first"]
    for variant in cells.variants:
        header += [
            f"{_variant_label(variant)}: {names.unit(benchmark)}",
            "published",
            "minus no task",
            "paired test",
            "Holm p",
        ]
    return Block(names.benchmark(benchmark, scale), header, grid, rules[1:])


def _verdicts(rows: Sequence[Row], vlms: Sequence[FineTuned], cells: Cells, scale: str) -> list[str]:
    fine_tuned = [vlm for vlm in vlms if vlm.auxiliary != NONE]
    sentences = [f"{vlm.label}: {own_score_clause(vlm)}." for vlm in fine_tuned if vlm.own is not None]
    flat = not_learnt_sentence(vlms)
    sentences += [flat] if flat else []
    for benchmark in cells.benchmarks:
        for vlm in fine_tuned:
            for variant in cells.variants:
                row = pick(rows, vlm.model, variant, benchmark, score_metric(benchmark), vlm.auxiliary)
                if row.get("difference") is None:
                    continue
                effect = "no difference is seen"
                if contrast.significant(row, +1) or contrast.significant(row, -1):
                    effect = "success rose" if row["difference"] > 0 else "success fell"
                sentences.append(
                    f"{names.benchmark(benchmark, scale)}, {_variant_label(variant)}: {effect} for "
                    f"{vlm.label} ({contrast.printed_difference(row)}, {contrast.printed_test(row)})."
                )
        sentences += [_finding(rows, model, benchmark, scale) for model in cells.backbones]
    return [sentence for sentence in sentences if sentence]


def _finding(rows: Sequence[Row], model: str, benchmark: str, scale: str) -> str:
    """Whether a VLA with a frozen vision encoder gains only if the VLM's was trained; empty if unknown."""
    try:
        frozen, trained = (
            pick(rows, model, "freeze-vision", benchmark, score_metric(benchmark), task)
            for task in (FROZEN, TRAINED)
        )
    except LookupError:
        return ""
    if None in (frozen.get("difference"), trained.get("difference")):
        return ""
    shows = contrast.significant(trained, +1) and not contrast.significant(frozen, +1)
    return (
        f"{names.model(model)} on {names.benchmark(benchmark, scale)}: the paper's finding that a VLA with a "
        "frozen vision encoder gains from FAST tokens only if the VLM's vision encoder learnt them too "
        + ("shows here." if shows else "does not show at this scale.")
    )


def _caption(rows: Sequence[Row], settings: TableSettings, tokens: Mapping[str, Any] | None) -> str:
    cells, scale = settings.cells, settings.scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        "A VLM first learns to predict the next action chunk as FAST tokens, with its vision encoder frozen "
        f"or trained. Then it becomes a policy with its vision encoder frozen or trained, on {shown}. Each "
        "policy is compared with the policy of the same kind from the same VLM without FAST tokens.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, cells.variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence([row["metric"] for row in rows], settings.seeds),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows),
        CAPTION,
        "The own score of FAST tokens is 1 for the true chunk. It is 0 for the mean absolute error of the "
        "one chunk that fits all images best, and 0 for an answer that is not a chunk.",
        _tokens_sentence(tokens),
        captions.published_sentence("table 4"),
        captions.agreement_sentence(scale),
        notes_of(rows),
    ]
    return " ".join(part for part in parts if part)


def _tokens_sentence(tokens: Mapping[str, Any] | None) -> str:
    """Round trip, length and vocabulary of the FAST tokens; empty without a report on them."""
    if tokens is None:
        return ""
    return (
        f"FAST tokens, on held-out chunks of actions in [-1, 1]: mean round-trip error "
        f"{tokens['round_trip_error']:.4f} (at most {tokens['error_bound']:.4f} for every value), "
        f"{tokens['tokens_a_chunk']:.1f} tokens per chunk, vocabulary of {tokens['vocabulary']}."
    )
