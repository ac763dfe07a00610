"""Tables 1 and 2 of the paper: every backbone, fully trained, on every benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlm4vla.analysis.by_task import by_task
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import compare
from vlm4vla.analysis.ranks import ranks_on
from vlm4vla.analysis.records import run_of
from vlm4vla.conventions.benchmarks import MAXIMUM, METRICS, score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.learning_curves import draw_learning_curves, read_curves
from vlm4vla.report.figures.overview import draw_overview
from vlm4vla.report.figures.radar import draw_radar
from vlm4vla.report.figures.ranks import draw_ranks
from vlm4vla.report.figures.tasks import draw_tasks
from vlm4vla.report.rows import pairs
from vlm4vla.report.rows.cells import CEILING, FLOOR, Row, measure, pick, printed, printed_published
from vlm4vla.report.rows.contrasts import LEVEL
from vlm4vla.report.rows.paper_numbers import Published, read_published
from vlm4vla.report.rows.table import GAP, Block, Table


def build(
    records: pd.DataFrame,
    settings: Mapping[str, Any],
    published: Path,
    output: Path,
    curves: Sequence[Path],
) -> Table:
    """The main table; draws figures/{main,radar,ranks,tasks,learning_curves} under `output`."""
    cells, scale = settings["cells"], settings["scale"]
    figures, benchmarks = output / "figures", cells["benchmarks"]
    paper = read_published(published, "main")
    policies = [(model, variant) for model in cells["backbones"] for variant in cells["variants"]]
    models = list(policies)
    policies += [(expert, "full") for expert in cells["experts"]]
    policies += [(FLOOR, "full"), (CEILING, "full")]
    wanted = [(*policy, benchmark) for policy in policies for benchmark in cells["benchmarks"]]
    rows, gaps = measure(records, wanted, METRICS, paper, scale, settings["seeds"])
    verdicts, floors = _verdicts(records, rows, models, cells["benchmarks"], scale)
    draw_overview(rows, policies, benchmarks, scale, figures / "main", _rules(policies, cells))
    labels = {policy: _label(policy, cells) for policy in policies}
    own = {model: labels[model] for model in models}
    draw_radar(rows, models, own, benchmarks, scale, figures / "radar")
    ranks = {name: ranks_on(records, models, name, score_metric(name)) for name in benchmarks}
    draw_ranks(ranks, own, benchmarks, scale, figures / "ranks")
    plain = records[records["auxiliary"] == "none"]
    shown = [policy in labels for policy in zip(plain["model"], plain["variant"], strict=True)]
    plain = plain[pd.Series(shown, index=plain.index, dtype=bool)]
    tasks = {name: by_task(plain[plain["benchmark"] == name]) for name in benchmarks}
    draw_tasks(tasks, labels, benchmarks, scale, figures / "tasks")
    draw_learning_curves(read_curves(curves), scale, figures / "learning_curves")
    blocks = [_scores(rows, policies, cells, scale, paper)]
    if "calvin" in cells["benchmarks"]:
        blocks.append(_chains(rows, policies, cells, scale))
    tests = {name: pairs.pair_tests(records, models, name) for name in cells["benchmarks"]}
    for name, found in tests.items():
        if found:
            title = f"{names.benchmark(name, scale)}: pairs of backbones"
            blocks.append(pairs.pair_block(found, models, list(own.values()), title))
    verdicts += [s for name, found in tests.items() if (s := pairs.pair_sentence(found, name, scale))]
    whole, stands, standing = pairs.stand_over_all(records, models, cells["benchmarks"])
    if stands:
        blocks.append(pairs.standing_block([own[model] for model in whole], stands))
    return Table(
        name="main",
        title=f"Backbones as robot policies, {scale} scale",
        caption=_caption(rows, settings, paper, any(tests.values()), bool(stands)),
        records=rows,
        blocks=blocks,
        verdicts=verdicts,
        gaps=gaps,
        extra=("seed_sd", "agreement"),
        details={
            "against_floor": floors,
            "pairs": [test for found in tests.values() for test in found],
            "standing": standing,
            "by_task": [
                row for name in cells["benchmarks"] for row in pairs.task_grid(records, models, name)
            ],
            "ranks": [
                {"model": model, "variant": variant, "benchmark": name, **vars(rank)}
                for name, ranked in ranks.items()
                for (model, variant), rank in ranked.items()
            ],
            "tasks": [
                {**row, "benchmark": name}
                for name, table in tasks.items()
                for row in table.to_dict("records")
            ],
        },
    )


def _label(policy: tuple[str, str], cells: Mapping[str, Any], paper: Published | None = None) -> str:
    model, variant = policy
    mark = "*" if paper and model in paper.notes else ""
    several = len(cells["variants"]) > 1 and model not in (FLOOR, CEILING, *cells["experts"])
    return names.model(model) + mark + (f", {names.variant(variant)}" if several else "")


def _scores(
    rows: Sequence[Row],
    policies: Sequence[tuple[str, str]],
    cells: Mapping[str, Any],
    scale: str,
    paper: Published,
) -> Block:
    header, grid = ["model"], []
    for benchmark in cells["benchmarks"]:
        unit = names.unit(score_metric(benchmark))
        header += [f"{names.benchmark(benchmark, scale)}: {unit}", "published"]
        header += ["agreement"] if scale == "paper" else []
    for policy in policies:
        line = [_label(policy, cells, paper)]
        for benchmark in cells["benchmarks"]:
            row = pick(rows, *policy, benchmark, score_metric(benchmark))
            line += [printed(row), printed_published(row)]
            line += [row["agreement"] or GAP] if scale == "paper" else []
        grid.append(line)
    return Block("Scores", header, grid, _rules(grid, cells))


def _chains(
    rows: Sequence[Row], policies: Sequence[tuple[str, str]], cells: Mapping[str, Any], scale: str
) -> Block:
    metrics = METRICS["calvin"][1:]
    grid = [
        [_label(policy, cells), *(printed(pick(rows, *policy, "calvin", metric)) for metric in metrics)]
        for policy in policies
    ]
    header = ["model", *(f"{count} in a row, %" for count in range(1, 6))]
    title = f"{names.benchmark('calvin', scale)}: instructions solved in a row"
    return Block(title, header, grid, _rules(grid, cells))


def _rules(grid: Sequence[Any], cells: Mapping[str, Any]) -> list[int]:
    """Lines before the expert VLAs and before floor and ceiling."""
    experts = len(cells["experts"])
    return sorted({len(grid) - 2 - experts, len(grid) - 2})


def _verdicts(
    records: pd.DataFrame,
    rows: Sequence[Row],
    models: Sequence[tuple[str, str]],
    benchmarks: Sequence[str],
    scale: str,
) -> tuple[list[str], list[dict[str, Any]]]:
    """For each benchmark the mean over backbones, and the backbones that random actions match."""
    tests = []
    for benchmark in benchmarks:
        metric, floor = score_metric(benchmark), run_of(records, FLOOR, "full", benchmark)
        for model, variant in models:
            test = compare(run_of(records, model, variant, benchmark), floor, metric)
            if test is not None:
                key = {"model": model, "variant": variant, "benchmark": benchmark, "metric": metric}
                tests.append(key | vars(test))
    for test, p in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["p_adjusted"] = p
    verdicts = []
    for benchmark in benchmarks:
        metric, shown = score_metric(benchmark), names.benchmark(benchmark, scale)
        found = [
            row
            for row in (pick(rows, *model, benchmark, metric) for model in models)
            if row["value"] is not None
        ]
        if not found:
            continue
        mean = sum(row["value"] for row in found) / len(found)
        share = f"{100 * mean / MAXIMUM[metric]:.0f} % of the maximum"
        sentence = f"{shown}: the mean over {len(found)} backbones is "
        sentence += f"{mean:.2f} ({share})" if metric == "average_length" else share
        own = [test for test in tests if test["benchmark"] == benchmark]
        level = [
            names.model(test["model"])
            for test in own
            if not (test["difference"] > 0 and test["p_adjusted"] < LEVEL)
        ]
        how = "(paired tests, 5 % level after Holm)"
        if not own:
            sentence += "; the floor was not measured"
        elif level:
            sentence += f"; not above random actions {how}: {names.joined(level)}"
        else:
            sentence += f"; every backbone is above random actions {how}"
        verdicts.append(sentence + ".")
    return verdicts, tests


def _caption(
    rows: Sequence[Row], settings: Mapping[str, Any], paper: Published, paired: bool, together: bool
) -> str:
    """`paired`, `together`: whether pairs of backbones and the standing over all benchmarks are shown."""
    scale = settings["scale"]
    shown = names.joined([names.benchmark(name, scale) for name in settings["cells"]["benchmarks"]])
    hidden = [names.model(name) for name in settings["cells"]["backbones"] if name in paper.notes]
    parts = [
        f"Each backbone made a policy by the same recipe and tried on {shown}.",
        captions.scale_sentence(scale, settings.get("departures", ())),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings["seeds"]),
        captions.intervals_sentence([row["metric"] for row in rows], settings["seeds"]),
        captions.published_sentence("tables 1 and 2"),
        captions.agreement_sentence(scale),
        *([pairs.PAIRS] if paired else []),
        *([pairs.STANDING] if together else []),
    ]
    if settings["cells"]["experts"]:
        parts.insert(2, captions.experts_sentence(settings["experts"]))
    if hidden:
        parts.append(
            f"* {names.joined(hidden)}: published only as a hidden row of the authors' project page."
        )
    return " ".join(parts)
