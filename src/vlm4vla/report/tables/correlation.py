"""Figure 3 of the paper as numbers: does a VLM's question score predict the score of its policy?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vlm4vla.analysis.sensitivity import FRAGILE, GROUPS, NEGATIVE, POSITIVE, WEAK
from vlm4vla.config.stages import TableSettings
from vlm4vla.conventions.benchmarks import facts, score_metric
from vlm4vla.report import captions, marks, names
from vlm4vla.report.figures.correlation import draw_scatter, draw_sets
from vlm4vla.report.rows.capability_scores import OVERALL, Score, read_capability
from vlm4vla.report.rows.cells import (
    Row,
    measure,
    notes_of,
    pick,
    printed,
    printed_published,
    score_metrics,
)
from vlm4vla.report.rows.correlations import (
    adjust,
    carrying_groups,
    correlations,
    finding,
    pearson_row,
    printed_groups,
    printed_range,
    question_rows,
    sensitivity,
)
from vlm4vla.report.rows.paper_numbers import PublishedCorrelation, read_published, read_published_correlation
from vlm4vla.report.rows.table import GAP, Block, Table
from vlm4vla.report.tables.inputs import TableInputs

EXTRA = (
    "seed_sd",
    "question_set",
    "backbones",
    "p_value",
    "p_adjusted",
    "p_method",
    "outcome",
    "verdict",
    "published_note",
)

# Measured by speed/interval_coverage.py --correlations.
COVERAGE = (
    "In simulated studies of 4 to 10 backbones with normal scores, they contain the true value in 94 to 100 "
    "of 100 cases."
)


def build(inputs: TableInputs) -> Table:
    """The correlation table; draws figures/correlation and figures/correlation_sets."""
    settings, records = inputs.settings, inputs.records
    cells, scale = settings.cells, settings.study_scale
    benchmarks, models = cells.benchmarks, cells.backbones
    published = read_published(inputs.published, "main")
    scores = {
        model: found
        for (model, auxiliary), found in read_capability(inputs.capability).items()
        if auxiliary == "none"
    }
    wanted = [(model, "full", benchmark) for model in models for benchmark in benchmarks]
    policies, gaps = measure(records, wanted, score_metrics(benchmarks), published, scale, settings.seeds)
    gaps += [f"question score of {names.model(model)}" for model in models if model not in scores]
    paper = read_published_correlation(inputs.published)
    sets = list(dict.fromkeys([OVERALL, *(name for found in scores.values() for name in found)]))
    rows = correlations(policies, scores, models, published.notes, benchmarks, sets, paper)
    adjust(rows)
    margin = settings.analysis.correlation_margin
    checks = sensitivity(records, policies, scores, models, benchmarks, rows, settings.families, margin)
    groups = {check["benchmark"]: carrying_groups(check) for check in checks}
    draw_scatter(policies, scores, models, benchmarks, rows, scale, inputs.figures / "correlation", groups)
    draw_sets(rows, benchmarks, sets, scale, inputs.figures / "correlation_sets")
    return Table(
        name="correlation",
        title=f"Question scores and policy scores, {scale} scale",
        caption=_caption(policies, rows, scores, settings, published.notes),
        records=[*rows, *question_rows(scores, models)],
        blocks=[
            _points(policies, scores, models, benchmarks, scale, published.notes),
            _overall(rows, benchmarks, scale),
            _sensitivity(checks, scale),
            _per_set(rows, benchmarks, sets, scale),
        ],
        verdicts=_verdicts(rows, checks, scale, paper),
        gaps=gaps,
        extra=EXTRA,
        details={"policies": policies, "sensitivity": checks},
    )


def _sensitivity(checks: Sequence[Mapping[str, Any]], scale: str) -> Block:
    header = [
        "overall question score against",
        "verdict",
        "groups",
        "r within",
        "p within",
        "r without noise",
    ]
    header += ["r without one backbone", "families", "r of families", "p", "r without one family"]
    grid = []
    for check in checks:
        low, high = check["rollouts_ci"]
        points, grouped = check["leave_one_out"], check["families"]
        known = grouped and grouped["pearson"] is not None
        grid.append(
            [
                names.benchmark(check["benchmark"], scale),
                check["verdict"],
                *printed_groups(check),
                GAP if low is None else f"[{low:.2f}, {high:.2f}]",
                printed_range(points),
                str(grouped["families"]) if grouped else GAP,
                f"{grouped['pearson']:.2f}" if known else GAP,
                names.p_number(grouped["p_value"]) if known else GAP,
                printed_range(grouped and grouped["without"]),
            ]
        )
    return Block("Sensitivity of the overall score's r", header, grid)


def _points(
    policies: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    models: Sequence[str],
    benchmarks: Sequence[str],
    scale: str,
    elsewhere: Collection[str],
) -> Block:
    """The scores of each model. `elsewhere`: the models whose published scores are not in the paper."""
    header = ["model", "questions: overall, %"]
    for name in benchmarks:
        header += [f"{names.benchmark(name, scale)}: {names.unit(name)}", "published"]
    grid = []
    for model in models:
        score = scores.get(model, {}).get(OVERALL)
        shown = GAP if score is None else score.percent
        found = [pick(policies, model, "full", name, score_metric(name)) for name in benchmarks]
        values = [text for row in found for text in (printed(row), printed_published(row))]
        grid.append([names.model(model) + marks.ELSEWHERE * (model in elsewhere), shown, *values])
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
            published = pearson["published"]
            note = "not significant" if pearson.get("published_note") and published is None else GAP
            grid.append(
                [
                    f"{names.benchmark(benchmark, scale)}, {pearson['model']}",
                    str(pearson["backbones"]),
                    *_tested(pearson),
                    *_tested(spearman),
                    *_tested(kendall),
                    note if published is None else f"{published:.3f}",
                ]
            )
    return Block("Overall score", header, grid)


def _per_set(rows: Sequence[Row], benchmarks: Sequence[str], sets: Sequence[str], scale: str) -> Block:
    header, grid = ["Pearson r of question set"], []
    for benchmark in benchmarks:
        header += [names.benchmark(benchmark, scale), "p", "Holm p"]
    for name in sets:
        line = [names.words(name)]
        for benchmark in benchmarks:
            row = pearson_row(rows, benchmark, name)
            line += _tested(row)
        grid.append(line)
    return Block("Each question set", header, grid, rules=[1])


def _r(row: Row) -> str:
    if row["value"] is None:
        return GAP
    interval = "" if row["ci_low"] is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"{row['value']:.2f}{interval}"


def _tested(row: Row) -> list[str]:
    """The cells for r, p and Holm's p."""
    return [_r(row), _p(row, "p_value"), _p(row, "p_adjusted")]


def _p(row: Row, key: str) -> str:
    return GAP if row[key] is None else names.p_number(row[key])


def _verdicts(
    rows: Sequence[Row],
    checks: Sequence[Mapping[str, Any]],
    scale: str,
    paper: Mapping[tuple[str, str], PublishedCorrelation],
) -> list[str]:
    """Whether the overall score correlates on each benchmark, and whether the paper's finding shows."""
    sentences = []
    for check in checks:
        benchmark = check["benchmark"]
        row, shown = pearson_row(rows, benchmark, OVERALL), names.benchmark(benchmark, scale)
        published = paper.get((benchmark, OVERALL))
        if row["value"] is None:
            sentences.append(f"{shown}: no correlation can be given over {row['backbones']} backbones.")
            continue
        sentence = f"{shown}: {finding(row, check)}"
        if published is not None:
            claimed = published.pearson is not None
            claim = f"r = {published.pearson:.3f}" if claimed else "no significant correlation"
            sentence += (
                f"; the paper's finding on {facts(benchmark).paper_title} ({claim} over "
                f"{published.backbones} backbones) {_here(row, published.pearson)}"
            )
        sentences.append(sentence + ".")
    return sentences


def _here(row: Row, claimed: float | None) -> str:
    """What the outcome of r says about the paper's r, or its finding of none (`claimed` is None)."""
    outcome = row["outcome"]
    if claimed is None:
        if outcome == WEAK:
            return "shows here too"
        opposite = outcome in (POSITIVE, NEGATIVE)
    else:
        same, other = (POSITIVE, NEGATIVE) if claimed > 0 else (NEGATIVE, POSITIVE)
        if outcome == same:
            return "shows here too"
        if outcome == WEAK:
            return "does not show here: r is weak"
        opposite = outcome == other
    if opposite:
        return "does not show here: the opposite does"
    reason = {GROUPS: ", because r is a difference of groups", FRAGILE: ", because r is fragile"}
    return f"cannot be told with {row['backbones']} backbones{reason.get(outcome, '')}"


def _caption(
    policies: Sequence[Row],
    rows: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    settings: TableSettings,
    elsewhere: Collection[str],
) -> str:
    scale, margin = settings.study_scale, settings.analysis.correlation_margin
    models = settings.cells.backbones
    shown = names.joined([names.benchmark(name, scale) for name in settings.cells.benchmarks])
    tests = sum(1 for row in rows if row["metric"] == "pearson_r" and row["p_value"] is not None)
    methods = sorted({row["p_method"] for row in rows if row["p_method"]})
    parts = [
        "The score of each backbone on held-out questions, before it becomes a policy, against the score of "
        f"its fully trained policy on {shown}.",
        captions.scale_sentence(scale, settings.departures),
        _questions_sentence([found[OVERALL] for found in scores.values() if OVERALL in found]),
        captions.episodes_sentence(policies, scale),
        captions.seeds_sentence(settings.seeds),
        captions.intervals_sentence(policies),
        _intervals_of_r(rows),
        f"p is two-sided, {' or '.join(methods)}. Holm p is corrected for all tests of a coefficient: those "
        f"of the overall score over the benchmarks, or those of all question sets ({tests} Pearson tests). "
        "Verdict: positive or negative at the 5 % level after Holm; fragile if r is not significant without "
        "one backbone or one family; a difference of groups if gaps in a score, or families, explain r, and "
        "r within the groups is not significant (p: one-sided, permutations within groups); weak if the "
        f"interval of r lies within {margin:g} of 0. r without noise: 95 % interval of r between the true "
        "scores of these backbones and these trained policies. The known sampling noise of questions and "
        "initial states, which pulls r towards 0, is taken out. r of families: over the mean scores of each "
        "family's backbones. All versions of Qwen-VL are one family, and so are those of PaliGemma."
        if methods
        else "",
        captions.published_sentence("figure 3, and tables 1 and 2 (scores of the policies)"),
        notes_of(policies),
        captions.elsewhere_sentence([m for m in models if m in elsewhere]),
        "The published r does not include InternVL3.5-4B." if any(row["published"] for row in rows) else "",
    ]
    return " ".join(part for part in parts if part)


def _intervals_of_r(rows: Sequence[Row]) -> str:
    """The intervals of the coefficients, and how often they contain the true value for so few points."""
    counts = sorted({row["backbones"] for row in rows if row["ci_low"] is not None})
    if not counts:
        return ""
    span = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    return (
        "The intervals of r are Fisher's z, those of rho and tau invert simulated normal scores. They are "
        f"about other backbones of the same kind: the {span} backbones count as a random sample. {COVERAGE}"
    )


def _questions_sentence(scores: Sequence[Score]) -> str:
    """The numbers of questions behind the overall scores, as far as they are known."""
    counts = sorted({score.questions for score in scores if score.questions is not None})
    without_error = sum(score.standard_error is None and not score.questions for score in scores)
    parts = []
    if counts or not scores:
        questions = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "no"
        parts.append(f"Overall score over {questions} questions per backbone.")
    if without_error:
        parts.append(
            f"For {without_error} of the {len(scores)} overall scores, neither a number of questions nor a "
            "standard error is known: they are treated as exact."
        )
    return " ".join(parts)
