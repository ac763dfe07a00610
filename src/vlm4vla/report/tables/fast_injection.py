"""Table 4 of the paper: a VLM first learns to predict FAST action tokens, then becomes a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis.interactions import Effect
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
    seed_spreads,
)
from vlm4vla.report.rows.contrasts import NONE
from vlm4vla.report.rows.decisions import (
    CONTRARY,
    EQUIVALENT,
    HIGHER,
    LOWER,
    SHOWN,
    UNDECIDED,
    concerning,
    gains,
    is_tested,
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
from vlm4vla.report.rows.interactions import Pair, interaction_records, printed_interaction
from vlm4vla.report.rows.paper_numbers import read_published_fast
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs

VLA_VISION = {"freeze-vision": "VLA's vision encoder frozen", "full": "VLA's vision encoder trained"}
FROZEN, TRAINED = "fast-freeze-vision", "fast-unfreeze-vision"
INTERACTIONS = (
    "Gains are compared with each other as one difference on the same initial states, with Holm's correction "
    "over these comparisons: a significant gain beside one that is not does not show that they differ."
)


def build(inputs: TableInputs) -> Table:
    """The FAST injection table; draws figures/fast_injection."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.study_scale
    vlms = read_fine_tuned(vlms_in(cells), inputs.capability, inputs.auxiliary)
    tokens = read_fast_report(inputs.fast[0]) if inputs.fast else None
    wanted = [cell for benchmark in cells.benchmarks for cell in cells_on(benchmark, cells)]
    published = read_published_fast(inputs.published)
    rows, gaps = measure(records, wanted, score_metrics(cells.benchmarks), published, scale, settings.seeds)
    contrast.add_auxiliary_contrasts(rows, records, settings.analysis.margin, not_learnt(vlms))
    margin = settings.analysis.margin
    tested = _interactions(rows, records, cells, margin)
    hinges = examine(rows, contrast.auxiliary_sides(records), margin, scale)
    floor = floors(records, cells.benchmarks)
    draw_fast_injection(rows, wanted, VLA_VISION, scale, floor, inputs.figures / "fast_injection")
    blocks = [_grid(rows, cells, benchmark, scale) for benchmark in cells.benchmarks]
    return Table(
        name="fast_injection",
        title=f"Action knowledge through FAST tokens, {scale} scale",
        caption=_caption(rows, settings, tokens),
        records=[*rows, *fine_tuned_rows(vlms)],
        blocks=[*blocks, fine_tuned_block(vlms)],
        verdicts=[*_verdicts(rows, vlms, settings, tested), *hinges.sentences],
        gaps=[*gaps, *fine_tuned_gaps(vlms), *([] if tokens else ["round trip of the FAST tokens"])],
        extra=("auxiliary", *contrast.EXTRA, *note_column(scale)),
        details={"fast": tokens, "interactions": tested, "hinges": hinges.records},
    )


def _interactions(
    rows: Sequence[Row], records: pd.DataFrame, cells: Cells, margin: float
) -> list[dict[str, Any]]:
    """The tests of the paper's "only if", two for each backbone and benchmark.

    The gain of a VLA with a frozen vision encoder is compared with its gain if the VLM's vision encoder was
    frozen too, and with the gain of a VLA whose vision encoder is trained.
    """
    wanted = [cell for benchmark in cells.benchmarks for cell in cells_on(benchmark, cells)]
    sides = contrast.auxiliary_sides(records)
    spreads, chosen = seed_spreads(records, wanted, score_metrics(cells.benchmarks)), []
    for benchmark in cells.benchmarks:
        metric = score_metric(benchmark)
        for model in cells.backbones:
            gain = _found(rows, model, "freeze-vision", benchmark, TRAINED)
            others = [
                _found(rows, model, "freeze-vision", benchmark, FROZEN),
                _found(rows, model, "full", benchmark, TRAINED),
            ]
            chosen += [
                Pair(gain, Effect(*sides(gain)), other, Effect(*sides(other)), spreads[benchmark, metric])
                for other in others
                if gain is not None and other is not None
            ]
    return interaction_records(chosen, margin)


def _found(rows: Sequence[Row], model: str, variant: str, benchmark: str, task: str) -> Row | None:
    """The row of a policy if the table has it with a difference."""
    try:
        row = pick(rows, model, variant, benchmark, score_metric(benchmark), task)
    except LookupError:
        return None
    return None if row.get("difference") is None else row


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
                paper, base = GAP, None
                if task != NONE and NONE in cells.auxiliaries[model]:
                    base = pick(rows, model, variant, benchmark, metric)["published"]
                if None not in (row["published"], base):
                    paper = names.number(metric, row["published"] - base, signed=True)
                line += [
                    printed(row),
                    printed_published(row),
                    contrast.printed_difference(row),
                    paper,
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
            "published difference",
            "paired test",
            "Holm p",
        ]
    return Block(names.benchmark(benchmark, scale), header, grid, rules[1:])


def _verdicts(
    rows: Sequence[Row], vlms: Sequence[FineTuned], settings: TableSettings, tested: Sequence[Row]
) -> list[str]:
    cells, scale = settings.cells, settings.study_scale
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
                sentences.append(
                    f"{names.benchmark(benchmark, scale)}, {_variant_label(variant)}: {_effect_words(row)} "
                    f"for {vlm.label} ({_printed_effect(row)})."
                )
        for model in cells.backbones:
            sentences += _finding(rows, model, benchmark, settings, tested)
    return sentences


def _effect_words(row: Row) -> str:
    return {
        HIGHER: "success rose",
        LOWER: "success fell",
        EQUIVALENT: "success is equivalent with and without FAST tokens",
        UNDECIDED: f"whether success changed cannot be told with {row['states']} initial states",
    }.get(row["outcome"], "the change of success is not tested")


def _printed_effect(row: Row) -> str:
    if not is_tested(row):
        return f"{contrast.printed_difference(row)}, {contrast.printed_test(row)}"
    return printed_interaction(row)


def _finding(
    rows: Sequence[Row], model: str, benchmark: str, settings: TableSettings, tested: Sequence[Row]
) -> list[str]:
    """How the gain depends on both vision encoders, and the paper's "only if"; empty if unknown."""
    frozen, trained = (_found(rows, model, "freeze-vision", benchmark, task) for task in (FROZEN, TRAINED))
    sentences, where = [], f"{names.model(model)} on {names.benchmark(benchmark, settings.study_scale)}"
    own = [test for test in tested if (test["model"], test["benchmark"]) == (model, benchmark)]
    for test in own:
        if test["other_variant"] == test["variant"]:
            others = "if the VLM's vision encoder learnt them too than if it was frozen"
        else:
            others = "if the VLA's vision encoder is frozen than if it is trained"
        sentences.append(
            f"{where}: the gain from FAST tokens {_comparison_words(test)} {others} "
            f"({printed_interaction(test)})."
        )
    if frozen is None or trained is None:
        return sentences
    test = next((test for test in own if test["other_variant"] == test["variant"]), None)
    here = _only_if(trained, frozen, test, settings.analysis.margin)
    claim = (
        "the paper's finding that a VLA with a frozen vision encoder gains from FAST tokens only if the "
        "VLM's vision encoder learnt them too"
    )
    return [*sentences, f"{where}: {claim} {here}, {concerning(settings.seeds)}."]


def _comparison_words(test: Row) -> str:
    return {
        HIGHER: "is larger",
        LOWER: "is smaller",
        EQUIVALENT: "is neither larger nor smaller, within the margin of equivalence,",
    }.get(test["outcome"], f"is not shown (with {test['states']} initial states) to be larger or smaller")


def _only_if(trained: Row, frozen: Row, test: Row | None, margin: float) -> str:
    """The predicate of the paper's finding, the weakest that the numbers force.

    It shows if there is a gain with the VLM's trained encoder, if this gain is larger than the other one in
    one test (`test`), and if the other gain is below the margin. One significant and one other test do not
    show it. Without a gain, with the other gain, or with equivalent gains, it does not show.
    """
    if test is None:
        return "was not tested here"
    gain, other = gains(trained, margin), gains(frozen, margin)
    if other == SHOWN:
        return "does not show here: the VLA gains without that too"
    if gain == CONTRARY:
        return "does not show here: the VLA does not gain"
    if test["outcome"] in (LOWER, EQUIVALENT):
        return f"does not show here: the gain is {'smaller' if test['outcome'] == LOWER else 'the same'} then"
    if (gain, other, test["outcome"]) == (SHOWN, CONTRARY, HIGHER):
        return "shows here"
    return f"cannot be told with {test['states']} initial states"


def _caption(rows: Sequence[Row], settings: TableSettings, tokens: Mapping[str, Any] | None) -> str:
    cells, scale = settings.cells, settings.study_scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    parts = [
        "A VLM first learns to predict the next action chunk as FAST tokens, with its vision encoder frozen "
        f"or trained. Then it becomes a policy with its vision encoder frozen or trained, on {shown}. Each "
        "policy is compared with the policy of the same kind from the same VLM without FAST tokens.",
        captions.scale_sentence(scale, settings.departures),
        contrast.step_sentence(settings.vla_steps, cells.variants),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(rows),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows, settings.analysis.margin),
        INTERACTIONS,
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
