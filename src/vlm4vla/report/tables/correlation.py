"""Figure 3 of the paper as numbers: does a VLM's question score foretell the score of its policy?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import captions, names
from vlm4vla.report.figures.correlation import draw_scatter, draw_sets
from vlm4vla.report.rows.capability_scores import OVERALL, Score, read_capability
from vlm4vla.report.rows.cells import Row, measure, pick, printed
from vlm4vla.report.rows.correlations import (
    ALL,
    LEVEL,
    adjust,
    correlations,
    find,
    question_rows,
    sensitivity,
)
from vlm4vla.report.rows.paper_numbers import PublishedCorrelation, read_published, read_published_correlation
from vlm4vla.report.rows.table import GAP, Block, Table

EXTRA = (
    "seed_sd",
    "question_set",
    "backbones",
    "p_value",
    "p_adjusted",
    "p_method",
    "verdict",
    "published_note",
)


def build(
    records: pd.DataFrame,
    settings: Mapping[str, Any],
    published: Path,
    output: Path,
    capability: Sequence[Path],
) -> Table:
    """The correlation table; draws figures/correlation and figures/correlation_sets under `output`."""
    cells, scale = settings["cells"], settings["scale"]
    benchmarks, models = cells["benchmarks"], cells["backbones"]
    hidden = read_published(published, "main").notes
    scores = {
        model: found
        for (model, auxiliary), found in read_capability(capability).items()
        if auxiliary == "none"
    }
    metrics = {benchmark: [score_metric(benchmark)] for benchmark in benchmarks}
    wanted = [(model, "full", benchmark) for model in models for benchmark in benchmarks]
    policies, gaps = measure(
        records, wanted, metrics, read_published(published, "main"), scale, settings["seeds"]
    )
    gaps += [f"question score of {names.model(model)}" for model in models if model not in scores]
    paper = read_published_correlation(published)
    sets = list(dict.fromkeys([OVERALL, *(name for found in scores.values() for name in found)]))
    rows = correlations(policies, scores, models, hidden, benchmarks, sets, paper)
    adjust(rows)
    checks = sensitivity(records, policies, scores, models, benchmarks, rows, settings.get("families", {}))
    draw_scatter(policies, scores, models, benchmarks, rows, scale, output / "figures" / "correlation")
    draw_sets(rows, benchmarks, sets, scale, output / "figures" / "correlation_sets")
    return Table(
        name="correlation",
        title=f"Question scores and policy scores, {scale} scale",
        caption=_caption(policies, rows, scores, settings),
        records=[*rows, *question_rows(scores, models)],
        blocks=[
            _points(policies, scores, models, benchmarks, scale),
            _overall(rows, benchmarks, scale),
            _checked(rows, checks, scale),
            _per_set(rows, benchmarks, sets, scale),
        ],
        verdicts=_verdicts(rows, benchmarks, scale, paper),
        gaps=gaps,
        extra=EXTRA,
        details={"policies": policies, "sensitivity": checks},
    )


def _checked(rows: Sequence[Row], checks: Sequence[Mapping[str, Any]], scale: str) -> Block:
    header = ["overall question score against", "verdict", "r, rollouts' luck", "r without one backbone"]
    header += ["families", "r of families", "p", "r without one family"]
    grid = []
    for check in checks:
        low, high = check["rollouts_ci"]
        points, grouped = check["leave_one_out"], check["families"]
        known = grouped and grouped["pearson"] is not None
        grid.append(
            [
                names.benchmark(check["benchmark"], scale),
                check["verdict"],
                GAP if low is None else f"[{low:.2f}, {high:.2f}]",
                _range(points),
                str(grouped["families"]) if grouped else GAP,
                f"{grouped['pearson']:.2f}" if known else GAP,
                names.p_value(grouped["p_value"]).removeprefix("p ").removeprefix("= ") if known else GAP,
                _range(grouped and grouped["without"]),
            ]
        )
    return Block("How much the overall score's r hangs on", header, grid)


def _range(found: Mapping[str, Any] | None) -> str:
    """`-0.10 (Kosmos-2) to 0.52 (PaliGemma-1)`: the extremes, and what is left out for each."""
    if not found:
        return GAP
    low, high = (f"{found[end]:.2f} ({found[f'{end}_without']})" for end in ("low", "high"))
    return f"{low} to {high}"


def _points(
    policies: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    models: Sequence[str],
    benchmarks: Sequence[str],
    scale: str,
) -> Block:
    header = ["model", "questions: overall, %"]
    header += [f"{names.benchmark(name, scale)}: {names.unit(score_metric(name))}" for name in benchmarks]
    grid = []
    for model in models:
        score = scores.get(model, {}).get(OVERALL)
        shown = GAP if score is None else score.percent
        found = (pick(policies, model, "full", name, score_metric(name)) for name in benchmarks)
        grid.append([names.model(model), shown, *map(printed, found)])
    return Block("The points", header, grid)


def _overall(rows: Sequence[Row], benchmarks: Sequence[str], scale: str) -> Block:
    header = [
        "overall question score against",
        "backbones",
        "Pearson r",
        "p",
        "Holm p",
        "Spearman rho",
        "p",
        "Holm p",
        "Kendall tau",
        "p",
        "Holm p",
        "published r",
    ]
    grid = []
    for benchmark in benchmarks:
        chosen = [row for row in rows if (row["benchmark"], row["question_set"]) == (benchmark, OVERALL)]
        for pearson, spearman, kendall in zip(chosen[::3], chosen[1::3], chosen[2::3], strict=True):
            told = pearson["published"]
            note = "not significant" if pearson.get("published_note") and told is None else GAP
            grid.append(
                [
                    f"{names.benchmark(benchmark, scale)}, {pearson['model']}",
                    str(pearson["backbones"]),
                    *_tested(pearson),
                    *_tested(spearman),
                    *_tested(kendall),
                    note if told is None else f"{told:.3f}",
                ]
            )
    return Block("Overall score", header, grid)


def _per_set(rows: Sequence[Row], benchmarks: Sequence[str], sets: Sequence[str], scale: str) -> Block:
    header, grid = ["Pearson r of question set"], []
    for benchmark in benchmarks:
        header += [names.benchmark(benchmark, scale), "p", "Holm p"]
    for name in sets:
        line = [name]
        for benchmark in benchmarks:
            row = find(rows, benchmark, name, ALL)
            line += _tested(row)
        grid.append(line)
    return Block("Each question set", header, grid, rules=[1])


def _r(row: Row) -> str:
    if row["value"] is None:
        return GAP
    interval = "" if row["ci_low"] is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"{row['value']:.2f}{interval}"


def _tested(row: Row) -> list[str]:
    """r, p and Holm's p."""
    return [_r(row), _p(row, "p_value"), _p(row, "p_adjusted")]


def _p(row: Row, key: str) -> str:
    return GAP if row[key] is None else names.p_value(row[key]).removeprefix("p ").removeprefix("= ")


def _verdicts(
    rows: Sequence[Row],
    benchmarks: Sequence[str],
    scale: str,
    paper: Mapping[tuple[str, str], PublishedCorrelation],
) -> list[str]:
    """Whether the overall score correlates on each benchmark, beside what the paper says of it."""
    sentences = []
    for benchmark in benchmarks:
        row, shown = find(rows, benchmark, OVERALL, ALL), names.benchmark(benchmark, scale)
        told = paper.get((benchmark, OVERALL))
        if row["value"] is None:
            sentences.append(f"{shown}: no correlation can be given over {row['backbones']} backbones.")
            continue
        found = row["p_adjusted"] < LEVEL
        sentence = (
            f"{shown}: {row['verdict']} (r = {row['value']:.2f}, {names.p_value(row['p_value'])}, with "
            f"Holm's correction over benchmarks {names.p_value(row['p_adjusted'])}, {row['backbones']} "
            "backbones)"
        )
        if told is not None:
            claimed = told.pearson is not None
            on = names.PAPER_BENCHMARKS[benchmark]
            said = f"r = {told.pearson:.3f}" if claimed else "no significant correlation"
            # with few backbones a missing correlation is not shown to be absent
            same = found == claimed and (not claimed or row["value"] * told.pearson > 0)
            claim = f"the paper's finding on {on} ({said} over {told.backbones} backbones)"
            sentence += f"; {claim} {'shows here too' if same else 'does not show at this scale'}"
        sentences.append(sentence + ".")
    return sentences


def _caption(
    policies: Sequence[Row],
    rows: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    settings: Mapping[str, Any],
) -> str:
    scale = settings["scale"]
    shown = names.joined([names.benchmark(name, scale) for name in settings["cells"]["benchmarks"]])
    tests = sum(1 for row in rows if row["metric"] == "pearson_r" and row["p_value"] is not None)
    methods = sorted({row["p_method"] for row in rows if row["p_method"]})
    parts = [
        f"Score of each backbone on held-out questions, before it becomes a policy, against the score of its "
        f"fully trained policy on {shown}.",
        captions.scale_sentence(scale, settings.get("departures", ())),
        _questions_sentence([found[OVERALL] for found in scores.values() if OVERALL in found]),
        captions.episodes_sentence(policies, scale),
        captions.seeds_sentence(settings["seeds"]),
        captions.intervals_sentence([row["metric"] for row in policies]),
        "For r, rho and tau: percentile bootstrap over backbones, which for so few points holds the true r "
        "in 91 to 95 of 100 simulated studies.",
        f"p: two-sided, {' or '.join(methods)}; Holm p: corrected for the tests of a coefficient, of the "
        f"overall score over the benchmarks, or of all question sets ({tests} Pearson tests). Verdict: "
        "evidence at the 5 % level after Holm; fragile where r is not significant without one backbone or "
        "one family. r, rollouts' luck: these backbones on resampled initial states and questions. r of "
        "families: over the mean scores of each family's backbones."
        if methods
        else "",
        captions.published_sentence("figure 3"),
        "The published r leaves out InternVL3.5-4B." if any(row["published"] for row in rows) else "",
    ]
    return " ".join(part for part in parts if part)


def _questions_sentence(scores: Sequence[Score]) -> str:
    """Over how many questions the overall scores are, as far as that is known."""
    counts = sorted({score.questions for score in scores if score.questions is not None})
    unsure = sum(score.standard_error is None and not score.questions for score in scores)
    parts = []
    if counts or not scores:
        questions = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "no"
        parts.append(f"Overall score over {questions} questions a backbone.")
    if unsure:
        parts.append(
            f"Of {unsure} of the {len(scores)} overall scores neither a number of questions nor a standard "
            "error is given: they are taken as exact."
        )
    return " ".join(parts)
