"""Figure 3 of the paper: the correlations that it states, and correlations with the user's question scores.

The paper does not print the question scores of its backbones. A user can provide them as a CSV file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from vlm4vla.analysis.published_numbers import fisher_interval, pearson_t_test, smallest_significant_r
from vlm4vla.conventions.benchmarks import facts, score_metric
from vlm4vla.conventions.lineages import PUBLISHED_FAMILIES
from vlm4vla.report import marks, names
from vlm4vla.report.published_study.numbers import EXPERT, PublishedNumber
from vlm4vla.report.published_study.scores import SCORES_KEY
from vlm4vla.report.rows import correlations
from vlm4vla.report.rows.capability_scores import OVERALL, Score
from vlm4vla.report.rows.cells import Row, pick
from vlm4vla.report.rows.correlations import finding, printed_groups, printed_range
from vlm4vla.report.rows.paper_numbers import PublishedCorrelation, notes_sentence
from vlm4vla.report.rows.table import GAP, Block, Table

EXTRA = (
    "backbones",
    "p_value",
    "p_adjusted",
    "p_method",
    "outcome",
    "verdict",
    "without_one_low",
    "without_one_high",
    "published_note",
)
ALL, PAPER_SUBSET = correlations.ALL, correlations.PAPER_SUBSET
SCORED = "backbones with a score"
COEFFICIENTS = {"pearson_r": "Pearson r", "spearman_rho": "Spearman rho", "kendall_tau": "Kendall tau"}


def build(
    numbers: Sequence[PublishedNumber],
    stated: Mapping[tuple[str, str], PublishedCorrelation],
    scores: Mapping[str, float],
) -> Table:
    """The table of correlations. `scores`: the question score of each model; may be empty."""
    stated_rows = [_stated_row(benchmark, each) for (benchmark, _), each in stated.items()]
    backbones = [n for n in numbers if n.table == "main" and n.kind != EXPERT]
    doubted = {number.benchmark for number in backbones if number.doubt}
    doubts = notes_sentence(number.doubt for number in backbones)
    score_rows, checks, gaps = _score_rows(backbones, scores) if scores else ([], [], [])
    blocks = [_stated_block(stated_rows, doubted)]
    blocks += [_score_block(score_rows), _sensitivity_block(checks)] if score_rows else []
    if not scores:
        gaps = [f"question scores of the backbones (write {SCORES_KEY} in config.yaml)"]
    return Table(
        name="published_correlation",
        title="Question scores and policy scores, as published",
        caption=(
            "Correlations that the paper states (arXiv 2601.03309, figure 3). Intervals (Fisher's z) and p "
            "(t test) follow from r and the number of backbones alone. They treat the backbones as a random "
            "sample, but most of the backbones belong to one family."
            + (
                " With the given question scores, as in the correlation table of a study: intervals "
                "(Fisher's z for r; those of rho and tau invert simulated normal scores), two-sided "
                "permutation p, and Holm's correction over the benchmarks for each coefficient. Verdict: "
                "fragile if r is not significant without one backbone or one family, and a difference of "
                "groups if r is not seen within groups of backbones. The luck of the paper's rollouts is not "
                "in these intervals. All versions of Qwen-VL are one family, and so are those of PaliGemma."
                if score_rows
                else ""
            )
            + (f" {doubts}" if doubts else "")
        ),
        records=[*stated_rows, *score_rows],
        blocks=blocks,
        verdicts=[*map(_stated_sentence, stated_rows), *_score_sentences(score_rows, checks)],
        gaps=gaps,
        extra=EXTRA,
        details={"scores": dict(scores), "sensitivity": checks},
    )


def _stated_row(benchmark: str, stated: PublishedCorrelation) -> Row:
    r, points = stated.pearson, stated.backbones
    low, high = fisher_interval(r, points) if r is not None else (None, None)
    return {
        "model": PAPER_SUBSET,
        "variant": "full",
        "benchmark": benchmark,
        "metric": "pearson_r",
        "value": r,
        "ci_low": low,
        "ci_high": high,
        "published": r,
        "backbones": points,
        "p_value": None if r is None else pearson_t_test(r, points),
        "p_method": None if r is None else "t test",
        "published_note": stated.note,
    }


def _score_rows(
    backbones: Sequence[PublishedNumber], scores: Mapping[str, float]
) -> tuple[list[Row], list[dict[str, Any]], list[str]]:
    """Correlations with the given scores, their sensitivity, and what is missing.

    They are over all backbones that have a score. If the paper's figure leaves out some of them, there are
    also correlations without these. The functions are those of a study's correlation table.
    """
    models = list(dict.fromkeys(number.model for number in backbones))
    benchmarks = list(dict.fromkeys(number.benchmark for number in backbones))
    values = {number.cell: number for number in backbones}
    policies = []
    for model in models:
        for benchmark in benchmarks:
            cell = (model, "full", "none", benchmark, score_metric(benchmark))
            number = values.get(cell)
            policies.append(
                dict(zip(("model", "variant", "auxiliary", "benchmark", "metric"), cell, strict=True))
                | {"value": number and number.value, "episodes": number and number.trials, "seeds": 1}
            )
    given = {model: {OVERALL: Score(score, None, None, None)} for model, score in scores.items()}
    hidden = {number.model: number.note for number in backbones if number.note and number.model in scores}
    rows = correlations.correlations(policies, given, models, hidden, benchmarks, [OVERALL], {})
    correlations.adjust(rows)
    checks = []
    gaps = [f"question score of {names.model(model)}" for model in models if model not in scores]
    for row in rows:
        if row["metric"] != "pearson_r":
            continue
        cells = {
            name: pick(policies, name, "full", row["benchmark"], score_metric(row["benchmark"]))
            for name in models
        }
        known = [
            name
            for name in models
            if name in scores
            and cells[name]["value"] is not None
            and (row["model"] == ALL or name not in hidden)
        ]
        x = np.array([scores[name] for name in known])
        y = np.array([cells[name]["value"] for name in known])
        found = correlations.check(row, known, x, y, PUBLISHED_FAMILIES)
        label = row["model"] if len(scores) == len(models) else row["model"].replace(ALL, SCORED)
        checks.append({"group": label} | found)
        if row["value"] is None:
            gaps.append(f"correlation on {facts(row['benchmark']).paper_title}, {label}")
    for row in rows:
        if len(scores) < len(models):
            row["model"] = row["model"].replace(ALL, SCORED)
        row["model"] += ", given scores"
    _add_ranges(rows, checks)
    return rows, checks, gaps


def _add_ranges(rows: Sequence[Row], checks: Sequence[Mapping[str, Any]]) -> None:
    """Add the range of r without one backbone to the rows of r (in place)."""
    pearson = [row for row in rows if row["metric"] == "pearson_r"]
    for row, check in zip(pearson, checks, strict=True):
        points = check["leave_one_out"]
        row["without_one_low"] = points and points["low"]
        row["without_one_high"] = points and points["high"]


def _stated_block(rows: Sequence[Row], doubted: Collection[str]) -> Block:
    """The correlations in the paper. `doubted`: the benchmarks with numbers that have a mark elsewhere."""
    grid = [
        [
            facts(row["benchmark"]).paper_title + marks.DOUBT * (row["benchmark"] in doubted),
            str(row["backbones"]),
            GAP
            if row["value"] is None
            else f"{row['value']:.3f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]",
            GAP if row["p_value"] is None else names.p_value(row["p_value"]),
            " ".join(map(names.model, row["published_note"].split())),
        ]
        for row in rows
    ]
    return Block("As stated", ["benchmark", "backbones", "Pearson r", "t test", "the paper's words"], grid)


def _group(row: Row) -> str:
    return f"{facts(row['benchmark']).paper_title}, {row['model'].removesuffix(', given scores')}"


def _score_block(rows: Sequence[Row]) -> Block:
    grid = []
    for row in rows:
        interval = "" if row["ci_low"] is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
        tested = row["value"] is not None
        grid.append(
            [
                _group(row),
                COEFFICIENTS[row["metric"]],
                str(row["backbones"]),
                f"{row['value']:.3f}{interval}" if tested else GAP,
                names.p_value(row["p_value"]) if tested else GAP,
                names.p_value(row["p_adjusted"]) if tested else GAP,
            ]
        )
    header = ["benchmark", "coefficient", "backbones", "value", "permutation test", "after Holm"]
    return Block("With the given question scores", header, grid)


def _sensitivity_block(checks: Sequence[Mapping[str, Any]]) -> Block:
    grid = []
    for check in checks:
        grouped = check["families"]
        known = grouped and grouped["pearson"] is not None
        grid.append(
            [
                f"{facts(check['benchmark']).paper_title}, {check['group']}",
                check["verdict"],
                *printed_groups(check),
                printed_range(check["leave_one_out"]),
                str(grouped["families"]) if grouped else GAP,
                f"{grouped['pearson']:.2f}" if known else GAP,
                names.p_number(grouped["p_value"]) if known and grouped["p_value"] is not None else GAP,
                printed_range(grouped and grouped["without"]),
            ]
        )
    header = ["benchmark", "verdict", "groups", "r within", "p within", "r without one backbone"]
    header += ["families", "r of families", "p", "r without one family"]
    return Block("Sensitivity of r with the given scores", header, grid)


def _stated_sentence(row: Row) -> str:
    benchmark = facts(row["benchmark"]).paper_title
    least = smallest_significant_r(row["backbones"])
    if row["value"] is None:
        return (
            f'{benchmark}: the paper does not state r. Over {row["backbones"]} backbones, "not significant" '
            f"means that |r| is below {least:.2f}. A correlation of up to this size is not excluded."
        )
    return (
        f"{benchmark}: r = {row['value']:.3f} over {row['backbones']} backbones "
        f"({names.p_value(row['p_value'])}). The true correlation may be anywhere from "
        f"{row['ci_low']:.2f} to {row['ci_high']:.2f}."
    )


def _score_sentences(rows: Sequence[Row], checks: Sequence[Mapping[str, Any]]) -> list[str]:
    sentences = []
    for start, check in zip(range(0, len(rows), len(COEFFICIENTS)), checks, strict=True):
        pearson, spearman, kendall = rows[start : start + len(COEFFICIENTS)]
        where = f"{_group(pearson)}, given scores"
        if pearson["value"] is None:
            sentences.append(
                f"{where}: r is not defined over {pearson['backbones']} backbones, because their question "
                "scores, or their policies' scores, are all alike."
            )
            continue
        sentences.append(
            f"{where}: {finding(pearson, check)}; rho = {spearman['value']:.2f}, "
            f"tau = {kendall['value']:.2f}." + _without(check)
        )
    return sentences


def _without(check: Mapping[str, Any]) -> str:
    points = check["leave_one_out"]
    if points is None:
        return " Without any one backbone, r is not defined."
    low, high = (f"{points[end]:.2f} (without {points[f'{end}_without']})" for end in ("low", "high"))
    sentence = f" Without one backbone, r is from {low} to {high}."
    if points["undefined"]:
        sentence += f" Without {' or '.join(points['undefined'])}, r is not defined."
    return sentence
