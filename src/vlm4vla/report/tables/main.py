"""Tables 1 and 2 of the paper: every backbone, fully trained, on every benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis.by_task import attempts_by_task
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import compare, table_spread
from vlm4vla.analysis.rankings import ranks_on_benchmark
from vlm4vla.analysis.records import cell_records
from vlm4vla.config.stages import TableSettings
from vlm4vla.config.tables import Cells
from vlm4vla.conventions.benchmarks import AVERAGE_LENGTH, facts, maximum, metrics, score_metric
from vlm4vla.conventions.scales import REAL
from vlm4vla.report import captions, marks, names
from vlm4vla.report.figures.learning_curves import draw_learning_curves, read_curves, read_image_tokens
from vlm4vla.report.figures.overview import draw_overview
from vlm4vla.report.figures.radar import draw_radar
from vlm4vla.report.figures.ranks import draw_ranks
from vlm4vla.report.figures.tasks import FEW, draw_tasks
from vlm4vla.report.rows import pairs
from vlm4vla.report.rows.cells import (
    CEILING,
    FLOOR,
    Row,
    measure,
    note_column,
    notes_of,
    pick,
    printed,
    printed_published,
)
from vlm4vla.report.rows.decisions import (
    CONTRARY,
    SHOWN,
    UNTOLD,
    decide,
    equivalence_words,
    gains,
    tally,
)
from vlm4vla.report.rows.hinges import examine_pairs
from vlm4vla.report.rows.pairs import Policy
from vlm4vla.report.rows.paper_numbers import Published, read_published
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs

FIGURES = (
    "Circle (figure): the small circle in the middle is 0. Success by task (figure): the share of the "
    f"attempts at a task that solved it; in italics, of fewer than {FEW} attempts; {GAP}: never tried."
)


def build(inputs: TableInputs) -> Table:
    """The main table; draws figures/{main,radar,ranks,tasks,learning_curves}."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.study_scale
    figures, benchmarks = inputs.figures, cells.benchmarks
    paper = read_published(inputs.published, "main")
    models = [(model, variant) for model in cells.backbones for variant in cells.variants]
    experts = [(expert, "full") for expert in cells.experts]
    policies = [*models, *experts, (FLOOR, "full"), (CEILING, "full")]
    wanted = [(*policy, benchmark) for policy in policies for benchmark in benchmarks]
    reported = {name: metrics(name) for name in benchmarks}
    rows, gaps = measure(records, wanted, reported, paper, scale, settings.seeds)
    draw_overview(rows, policies, benchmarks, scale, figures / "main", _rules(policies, cells))
    labels = {policy: _label(policy, cells) for policy in policies}
    model_labels = {model: labels[model] for model in models}
    draw_radar(rows, models, model_labels, benchmarks, scale, figures / "radar")
    tests = pairs.table_pairs(records, models, benchmarks)
    ranks = {
        name: ranks_on_benchmark(records, models, name, score_metric(name), pairs.better_pairs(tests[name]))
        for name in benchmarks
    }
    draw_ranks(ranks, model_labels, benchmarks, scale, figures / "ranks")
    tasks = _attempts(records, labels, benchmarks)
    draw_tasks(tasks, labels, benchmarks, scale, figures / "tasks")
    draw_learning_curves(read_curves(inputs.curves), scale, figures / "learning_curves")
    tokens = read_image_tokens(inputs.curves)
    blocks = [_scores(rows, policies, cells, scale, paper)]
    chains = [name for name in benchmarks if facts(name).is_chain]
    blocks += [_chains(rows, policies, cells, name, scale) for name in chains]
    for name, found in tests.items():
        if found:
            title = f"{names.benchmark(name, scale)}: pairs of backbones"
            blocks.append(pairs.pair_block(found, models, list(model_labels.values()), title))
    ranked, rankings, ranking_details = pairs.rank_over_all(records, models, benchmarks, tests)
    if rankings:
        blocks.append(pairs.ranking_block([model_labels[model] for model in ranked], rankings))
    verdicts, against_floor = _verdicts(records, rows, models, benchmarks, scale, settings.analysis.margin)
    verdicts += [s for name, found in tests.items() if (s := pairs.pair_sentence(found, name, scale))]
    hinges = [examine_pairs(records, found, labels, scale) for found in tests.values()]
    verdicts += [sentence for found in hinges for sentence in found.sentences]
    return Table(
        name="main",
        title=f"Backbones as robot policies, {scale} scale",
        caption=_caption(rows, settings, paper, any(tests.values()), bool(rankings), tokens),
        records=rows,
        blocks=blocks,
        verdicts=verdicts,
        gaps=gaps,
        extra=("seed_sd", "agreement", *note_column(scale)),
        details={
            "against_floor": against_floor,
            "pairs": [test for found in tests.values() for test in found],
            "hinges": [record for found in hinges for record in found.records],
            "standing": ranking_details,
            "image_tokens": tokens,
            "by_task": pairs.task_grids(records, models, benchmarks),
            "ranks": [
                {"model": model, "variant": variant, "benchmark": name, **vars(rank)}
                for name, found in ranks.items()
                for (model, variant), rank in found.items()
            ],
            "tasks": [
                {**row, "benchmark": name}
                for name, table in tasks.items()
                for row in table.to_dict("records")
            ],
        },
    )


def _attempts(
    records: pd.DataFrame, policies: Mapping[Policy, str], benchmarks: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """The attempts of `policies` at each task, by benchmark, without rollouts after an auxiliary task."""
    untuned = records[records["auxiliary"] == "none"]
    shown = [policy in policies for policy in zip(untuned["model"], untuned["variant"], strict=True)]
    chosen = untuned[pd.Series(shown, index=untuned.index, dtype=bool)]
    return {name: attempts_by_task(chosen[chosen["benchmark"] == name]) for name in benchmarks}


def _label(policy: Policy, cells: Cells, paper: Published | None = None) -> str:
    model, variant = policy
    mark = marks.ELSEWHERE if paper and model in paper.notes else ""
    with_variant = len(cells.variants) > 1 and model not in (FLOOR, CEILING, *cells.experts)
    return names.model(model) + mark + (f", {names.variant(variant)}" if with_variant else "")


def _scores(
    rows: Sequence[Row], policies: Sequence[Policy], cells: Cells, scale: str, paper: Published
) -> Block:
    header, grid = ["model"], []
    for benchmark in cells.benchmarks:
        header += [f"{names.benchmark(benchmark, scale)}: {names.unit(benchmark)}", "published"]
        header += ["agreement"] if scale in REAL else []
    for policy in policies:
        line = [_label(policy, cells, paper)]
        for benchmark in cells.benchmarks:
            row = pick(rows, *policy, benchmark, score_metric(benchmark))
            line += [printed(row), printed_published(row)]
            line += [row["agreement"] or GAP] if scale in REAL else []
        grid.append(line)
    return Block("Scores", header, grid, _rules(grid, cells))


def _chains(
    rows: Sequence[Row], policies: Sequence[Policy], cells: Cells, benchmark: str, scale: str
) -> Block:
    rates = metrics(benchmark)[1:]
    grid = [
        [_label(policy, cells), *(printed(pick(rows, *policy, benchmark, rate)) for rate in rates)]
        for policy in policies
    ]
    header = ["model", *(f"{count} in a row, %" for count in range(1, len(rates) + 1))]
    title = f"{names.benchmark(benchmark, scale)}: instructions solved in a row"
    return Block(title, header, grid, _rules(grid, cells))


def _rules(lines: Sequence[Any], cells: Cells) -> list[int]:
    """The lines before the expert VLAs, and before floor and ceiling."""
    return sorted({len(lines) - 2 - len(cells.experts), len(lines) - 2})


def _verdicts(
    records: pd.DataFrame,
    rows: Sequence[Row],
    models: Sequence[Policy],
    benchmarks: Sequence[str],
    scale: str,
    margin: float,
) -> tuple[list[str], list[dict[str, Any]]]:
    """For each benchmark, the mean over backbones and the policies that are better than random actions.

    Also returns the tests against random actions.
    """
    tests = []
    for benchmark in benchmarks:
        metric, floor = score_metric(benchmark), cell_records(records, FLOOR, "full", benchmark)
        trained = {policy: cell_records(records, *policy, benchmark) for policy in models}
        spread = table_spread(list(trained.values()), metric)
        for (model, variant), own_records in trained.items():
            test = compare(own_records, floor, metric, spread)
            if test is not None:
                key = {"model": model, "variant": variant, "benchmark": benchmark, "metric": metric}
                tests.append(key | vars(test))
    for test, p in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["p_adjusted"] = p
        test["outcome"] = decide(_as_row(test), margin)
    verdicts = []
    for benchmark in benchmarks:
        metric, shown = score_metric(benchmark), names.benchmark(benchmark, scale)
        measured = [
            row
            for row in (pick(rows, *model, benchmark, metric) for model in models)
            if row["value"] is not None
        ]
        if not measured:
            continue
        mean = sum(row["value"] for row in measured) / len(measured)
        share = f"{100 * mean / maximum(benchmark, metric):.0f} % of the maximum"
        counted = "backbones" if len({variant for _, variant in models}) == 1 else "policies"
        sentence = f"{shown}: the mean over {len(measured)} {counted} is "
        sentence += f"{mean:.2f} ({share})" if metric == AVERAGE_LENGTH else share
        own = [test for test in tests if test["benchmark"] == benchmark]
        sentence += ". " + _against_floor(own, margin) if own else "; the floor was not measured"
        verdicts.append(sentence + ".")
    return verdicts, tests


def _as_row(test: Mapping[str, Any]) -> dict[str, Any]:
    """A test against random actions with the keys of a row that has a difference."""
    limits = {"difference_ci_low": test["ci_low"], "difference_ci_high": test["ci_high"]}
    return {**test, **limits, "shared_seeds": test["seeds"]}


def _against_floor(tests: Sequence[Mapping[str, Any]], margin: float) -> str:
    """Which policies are better than random actions, which certainly are not, and which cannot be told."""
    several = len({test["variant"] for test in tests}) > 1
    found: dict[str, list[str]] = {SHOWN: [], CONTRARY: [], UNTOLD: []}
    for test in tests:
        label = names.model(test["model"]) + (f", {names.variant(test['variant'])}" if several else "")
        found[gains(_as_row(test), margin)].append(label)
    policies = len(tests)
    better = (
        f"{len(found[SHOWN])} of {policies} trained policies are" if found[SHOWN] else "None is shown to be"
    )
    if len(found[SHOWN]) == policies:
        better = "Every trained policy is"
    elif len(found[SHOWN]) == 1:
        better = f"1 of {policies} trained policies is"
    parts = [f"{better} better than random actions (paired tests, 5 % level after Holm)"]
    if found[CONTRARY]:
        listed, verb = names.joined(found[CONTRARY]), "is" if len(found[CONTRARY]) == 1 else "are"
        parts.append(f"{listed} {verb} not better by {equivalence_words(margin)} or more")
    if found[UNTOLD]:
        number = tally(tests, lambda test: gains(_as_row(test), margin)).number
        parts.append(f"for {names.joined(found[UNTOLD])}, it cannot be told {number}")
    return "; ".join(parts)


def _caption(
    rows: Sequence[Row],
    settings: TableSettings,
    paper: Published,
    has_pairs: bool,
    has_ranking: bool,
    tokens: Mapping[str, int],
) -> str:
    cells, scale = settings.cells, settings.study_scale
    shown = names.joined([names.benchmark(name, scale) for name in cells.benchmarks])
    hidden = [name for name in cells.backbones if name in paper.notes]
    parts = [
        f"Each backbone becomes a policy by the same recipe and is evaluated on {shown}.",
        captions.scale_sentence(scale, settings.departures),
        captions.experts_sentence(settings.experts) if cells.experts else "",
        captions.image_tokens_sentence(
            {names.model(name): count for name, count in tokens.items() if name in cells.backbones}
        ),
        captions.episodes_sentence(rows, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(rows),
        captions.published_sentence("tables 1 and 2"),
        captions.agreement_sentence(scale),
        notes_of(rows),
        pairs.PAIRS if has_pairs else "",
        pairs.RANKS if has_pairs else "",
        pairs.RANKING if has_ranking else "",
        FIGURES,
        captions.elsewhere_sentence(hidden),
    ]
    return " ".join(part for part in parts if part)
