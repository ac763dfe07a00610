"""Table 3 of the paper: what a frozen vision encoder or word embedding costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.paired import draw_variants
from vlm4vla.report.rows import contrasts as contrast
from vlm4vla.report.rows.cells import Row, floors, measure, pick, printed, printed_published
from vlm4vla.report.rows.paper_numbers import read_published
from vlm4vla.report.rows.table import GAP, Block, Table

REFERENCE = "full"
# what the paper found when a module is frozen: -1 lower everywhere, 0 about the same
FINDINGS = {"freeze-vision": -1, "freeze-embedding": 0}


def build(records: pd.DataFrame, settings: Mapping[str, Any], published: Path, output: Path) -> Table:
    """The freeze table; draws figures/freeze under `output`."""
    cells, scale = settings["cells"], settings["scale"]
    metrics = {benchmark: [score_metric(benchmark)] for benchmark in cells["benchmarks"]}
    wanted = [
        (model, variant, benchmark)
        for benchmark in cells["benchmarks"]
        for model in cells["backbones"]
        for variant in cells["variants"]
    ]
    rows, gaps = measure(
        records, wanted, metrics, read_published(published, "freeze"), scale, settings["seeds"]
    )
    contrast.add_contrasts(rows, records, first=None, second=REFERENCE)
    draw_variants(rows, cells, scale, floors(records, cells["benchmarks"]), output / "figures" / "freeze")
    return Table(
        name="freeze",
        title=f"Frozen modules, {scale} scale",
        caption=_caption(rows, settings),
        records=rows,
        blocks=[_block(rows, cells, benchmark, scale) for benchmark in cells["benchmarks"]],
        verdicts=_verdicts(rows, cells, scale),
        gaps=gaps,
        extra=contrast.EXTRA,
    )


def _block(rows: Sequence[Row], cells: Mapping[str, Any], benchmark: str, scale: str) -> Block:
    metric, grid, rules = score_metric(benchmark), [], []
    for model in cells["backbones"]:
        full = pick(rows, model, REFERENCE, benchmark, metric) if REFERENCE in cells["variants"] else None
        rules.append(len(grid))
        for variant in cells["variants"]:
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
        names.unit(metric),
        "published",
        "minus all trained",
        "published",
        "paired test",
        "Holm p",
    ]
    return Block(names.benchmark(benchmark, scale), header, grid, rules[1:])


def _verdicts(rows: Sequence[Row], cells: Mapping[str, Any], scale: str) -> list[str]:
    """A sentence for each frozen module on each benchmark: does the paper's finding show?"""
    sentences = []
    for variant, finding in FINDINGS.items():
        for benchmark in cells["benchmarks"]:
            found = contrast.score_rows(rows, variant, benchmark)
            if not found:
                continue
            lower = [row for row in found if contrast.significant(row, -1)]
            higher = [row for row in found if contrast.significant(row, +1)]
            what = names.variant(variant).removesuffix(" frozen")
            sentence = (
                f"{names.benchmark(benchmark, scale)}: freezing the {what} lowered the score of "
                f"{len(lower)} of {len(found)} backbones and raised that of {len(higher)} "
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


def _caption(rows: Sequence[Row], settings: Mapping[str, Any]) -> str:
    cells, scale = settings["cells"], settings["scale"]
    shown = names.joined([names.benchmark(name, scale) for name in cells["benchmarks"]])
    parts = [
        f"Policies whose vision encoder or word embedding stays as the backbone has it, on {shown}.",
        captions.scale_sentence(scale, settings.get("departures", ())),
        contrast.step_sentence(settings.get("vla_steps"), cells["variants"]),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings["seeds"]),
        captions.intervals_sentence([row["metric"] for row in rows], settings["seeds"]),
        captions.DIFFERENCES,
        contrast.adjustment_sentence(rows),
        captions.published_sentence("table 3"),
        captions.agreement_sentence(scale),
    ]
    return " ".join(part for part in parts if part)
