"""Table 4 of the paper: a VLM that learnt to say FAST action tokens first, then made a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.fast_injection import draw_fast_injection
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.auxiliary_scores import read_fast_report
from vlm4vla.report.rows.cells import Cell, Row, floors, measure, pick, printed, printed_published
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
from vlm4vla.report.rows.paper_numbers import read_published_fast
from vlm4vla.report.rows.table import Block, Table

VLA_VISION = {"freeze-vision": "VLA's vision encoder frozen", "full": "VLA's vision encoder trained"}
FROZEN, TRAINED = "fast-freeze-vision", "fast-unfreeze-vision"


def build(
    records: pd.DataFrame,
    settings: Mapping[str, Any],
    published: Path,
    output: Path,
    capability: Sequence[Path],
    auxiliary: Sequence[Path],
    fast: Sequence[Path],
) -> Table:
    """The FAST injection table; draws figures/fast_injection under `output`."""
    cells, scale = settings["cells"], settings["scale"]
    vlms = read_fine_tuned(cells, capability, auxiliary)
    tokens = read_fast_report(fast[0]) if fast else None
    metrics = {benchmark: [score_metric(benchmark)] for benchmark in cells["benchmarks"]}
    wanted = [
        Cell(model, variant, benchmark, task)
        for benchmark in cells["benchmarks"]
        for model in cells["backbones"]
        for variant in cells["variants"]
        for task in cells["auxiliaries"][model]
    ]
    rows, gaps = measure(records, wanted, metrics, read_published_fast(published), scale, settings["seeds"])
    contrast.add_auxiliary_contrasts(rows, records)
    floor = floors(records, cells["benchmarks"])
    draw_fast_injection(rows, wanted, VLA_VISION, scale, floor, output / "figures" / "fast_injection")
    blocks = [_grid(rows, cells, benchmark, scale) for benchmark in cells["benchmarks"]]
    return Table(
        name="fast_injection",
        title=f"Action knowledge through FAST tokens, {scale} scale",
        caption=_caption(rows, settings, tokens),
        records=[*rows, *tuned_rows(vlms)],
        blocks=[*blocks, tuned_block(vlms)],
        verdicts=_verdicts(rows, vlms, cells, scale),
        gaps=[*gaps, *tuned_gaps(vlms), *([] if tokens else ["round trip of the FAST tokens"])],
        extra=("auxiliary", *contrast.EXTRA),
        details={"fast": tokens},
    )


def _vla_vision(variant: str) -> str:
    return VLA_VISION.get(variant, names.variant(variant))


def _grid(rows: Sequence[Row], cells: Mapping[str, Any], benchmark: str, scale: str) -> Block:
    """What the VLM learnt first, down, by what of the VLA trained, across."""
    metric, grid, rules = score_metric(benchmark), [], []
    for model in cells["backbones"]:
        rules.append(len(grid))
        for task in cells["auxiliaries"][model]:
            line = [f"{names.model(model)}, {names.auxiliary(task)}"]
            for variant in cells["variants"]:
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
    for variant in cells["variants"]:
        header += [
            f"{_vla_vision(variant)}: {names.unit(metric)}",
            "published",
            "minus no task",
            "paired test",
            "Holm p",
        ]
    return Block(names.benchmark(benchmark, scale), header, grid, rules[1:])


def _verdicts(
    rows: Sequence[Row], vlms: Sequence[FineTuned], cells: Mapping[str, Any], scale: str
) -> list[str]:
    tuned = [vlm for vlm in vlms if vlm.auxiliary != NONE]
    sentences = [f"{vlm.label}: {own_clause(vlm)}." for vlm in tuned if vlm.own is not None]
    flat = unlearnt_sentence(vlms)
    sentences += [flat] if flat else []
    for benchmark in cells["benchmarks"]:
        for vlm in tuned:
            for variant in cells["variants"]:
                row = pick(rows, vlm.model, variant, benchmark, score_metric(benchmark), vlm.auxiliary)
                if row.get("difference") is None:
                    continue
                did = "no difference is seen"
                if contrast.significant(row, +1) or contrast.significant(row, -1):
                    did = "success rose" if row["difference"] > 0 else "success fell"
                sentences.append(
                    f"{names.benchmark(benchmark, scale)}, {_vla_vision(variant)}: {did} for {vlm.label} "
                    f"({contrast.printed_difference(row)}, {contrast.printed_test(row)})."
                )
        sentences += [_finding(rows, model, benchmark, scale) for model in cells["backbones"]]
    return [sentence for sentence in sentences if sentence]


def _finding(rows: Sequence[Row], model: str, benchmark: str, scale: str) -> str:
    """Whether only FAST with a trained vision encoder helps a VLA that freezes its own; empty if unknown."""
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
        "frozen vision encoder gains from FAST tokens only where the VLM's vision encoder learnt them too "
        + ("shows here." if shows else "does not show at this scale.")
    )


def _caption(rows: Sequence[Row], settings: Mapping[str, Any], tokens: Mapping[str, Any] | None) -> str:
    cells, scale = settings["cells"], settings["scale"]
    shown = names.joined([names.benchmark(name, scale) for name in cells["benchmarks"]])
    parts = [
        "A VLM first learns to say the next action chunk as FAST tokens, with its vision encoder frozen or "
        f"trained; then it is made a policy with its vision encoder frozen or trained, on {shown}. Each "
        "policy is compared with the policy of the same kind from the same VLM without FAST tokens.",
        captions.scale_sentence(scale, settings.get("departures", ())),
        contrast.step_sentence(settings.get("vla_steps"), cells["variants"]),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings["seeds"]),
        captions.intervals_sentence([row["metric"] for row in rows], settings["seeds"]),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows),
        CAPTION,
        "The own score of FAST tokens: 1 is the true chunk, 0 the mean absolute error of one chunk that "
        "serves all pictures best, and 0 where what is said is no chunk.",
        tokens_sentence(tokens),
        captions.published_sentence("table 4"),
        captions.agreement_sentence(scale),
    ]
    return " ".join(part for part in parts if part)


def tokens_sentence(tokens: Mapping[str, Any] | None) -> str:
    """Round trip, length and vocabulary of the FAST tokens; empty when there is no report on them."""
    if tokens is None:
        return ""
    return (
        f"FAST tokens, on held-out chunks of actions in [-1, 1]: mean round-trip error "
        f"{tokens['round_trip_error']:.4f} (no value's is above {tokens['error_bound']:.4f}), "
        f"{tokens['tokens_a_chunk']:.1f} tokens a chunk, vocabulary of {tokens['vocabulary']}."
    )
