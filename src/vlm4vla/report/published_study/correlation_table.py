"""Figure 3 of the paper: the correlations that it states, and correlations with the user's question scores.

The paper does not print the question scores of its backbones. A user can provide them as a CSV file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.published_numbers import fisher_interval, pearson_t_test, smallest_significant_r
from vlm4vla.conventions.benchmarks import facts, score_metric
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.report import names
from vlm4vla.report.published_study.numbers import EXPERT, PublishedNumber
from vlm4vla.report.rows.cells import Row
from vlm4vla.report.rows.paper_numbers import MARK, PublishedCorrelation, notes_sentence, read_rows
from vlm4vla.report.rows.table import GAP, Block, Table

EXTRA = ("backbones", "p_value", "p_method", "without_one_low", "without_one_high", "published_note")
ALL, PAPER_SUBSET = "all backbones", "the paper's backbones"
SCORES_KEY = "published_scores"  # in the configuration
LEAST_SCORES = 4  # backbones for a correlation with an interval


def read_scores(path: Path, known: Collection[str]) -> dict[str, float]:
    """The question score of each model in a CSV file with the columns model and score.

    Scores may have any unit; higher is better. Raises UserError (one line) for a missing or repeated score, a
    score that is not a number, and a model that is not in `known`.
    """
    if path.is_dir():
        raise UserError(
            f"{SCORES_KEY}: {str(path)!r} is a folder: write a CSV file with the columns model,score"
        )
    scores: dict[str, float] = {}
    try:
        rows = read_rows(path, {"model", "score"})
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file: write a CSV file with the columns model,score") from None
    for row in rows:
        model = row["model"]
        if model not in known:
            raise UserError(f"{path}: unknown model {model!r}: {suggestion(str(model), known)}")
        if model in scores:
            raise UserError(f"{path}: model {model!r} has two lines: write one line")
        try:
            scores[model] = float(row["score"])
        except (TypeError, ValueError):
            scores[model] = math.nan
        if not math.isfinite(scores[model]):
            raise UserError(f"{path}: score {row['score']!r} of {model!r} is not a number: write a number")
    if len(scores) < LEAST_SCORES:
        raise UserError(f"{path}: {len(scores)} models have a score: write at least {LEAST_SCORES}")
    return scores


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
    score_rows = []
    if scores:
        benchmarks = dict.fromkeys(number.benchmark for number in backbones)
        score_rows = [row for name in benchmarks for row in _score_rows(name, backbones, scores)]
    blocks = [_stated_block(stated_rows, doubted)]
    blocks += [_score_block(score_rows)] if score_rows else []
    gaps = [] if scores else [f"question scores of the backbones (write {SCORES_KEY} in config.yaml)"]
    return Table(
        name="published_correlation",
        title="Question scores and policy scores, as published",
        caption=(
            "Correlations that the paper states (arXiv 2601.03309, figure 3). Intervals (Fisher's z) and p "
            "(t test) follow from r and the number of backbones alone. They treat the backbones as a random "
            "sample, but most of the backbones belong to one family."
            + (
                " With the given question scores: percentile bootstrap over backbones, exact permutation p, "
                "and the range of r if one backbone is left out."
                if score_rows
                else ""
            )
            + (f" {doubts}" if doubts else "")
        ),
        records=[*stated_rows, *score_rows],
        blocks=blocks,
        verdicts=[*map(_stated_sentence, stated_rows), *map(_score_sentence, score_rows)],
        gaps=gaps,
        extra=EXTRA,
        details={"scores": dict(scores)},
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
    benchmark: str, backbones: Sequence[PublishedNumber], scores: Mapping[str, float]
) -> list[Row]:
    """Correlations with the given scores over all backbones that have a score.

    If the paper's figure leaves out some of them, there are also correlations without these.
    """
    scored = [
        number
        for number in backbones
        if number.benchmark == benchmark
        and number.metric == score_metric(benchmark)
        and number.model in scores
    ]
    groups = [(ALL, scored)]
    subset = [number for number in scored if not number.note]
    groups += [(PAPER_SUBSET, subset)] if len(subset) < len(scored) else []
    rows = []
    for group, members in groups:
        x = np.array([scores[number.model] for number in members])
        y = np.array([number.value for number in members])
        found = correlate(x, y)
        if found is None:
            continue
        left_out = [_pearson(np.delete(x, i), np.delete(y, i)) for i in range(len(x))]
        rows.append(
            {
                "model": f"{group}, given scores",
                "variant": "full",
                "benchmark": benchmark,
                "metric": "pearson_r",
                "value": found.pearson,
                "ci_low": found.ci_low,
                "ci_high": found.ci_high,
                "backbones": found.points,
                "p_value": found.pearson_p,
                "p_method": found.p_method,
                "without_one_low": min(left_out),
                "without_one_high": max(left_out),
                "least": names.model(members[int(np.argmin(left_out))].model),
                "most": names.model(members[int(np.argmax(left_out))].model),
            }
        )
        rows.append(
            {
                "model": f"{group}, given scores",
                "variant": "full",
                "benchmark": benchmark,
                "metric": "spearman_rho",
                "value": found.spearman,
                "backbones": found.points,
                "p_value": found.spearman_p,
                "p_method": found.p_method,
            }
        )
    return rows


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's r; 0 if all values of `x` or of `y` are equal."""
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else 0.0


def _stated_block(rows: Sequence[Row], doubted: Collection[str]) -> Block:
    """The correlations in the paper. `doubted`: the benchmarks with numbers that have MARK elsewhere."""
    grid = [
        [
            facts(row["benchmark"]).paper_title + MARK * (row["benchmark"] in doubted),
            str(row["backbones"]),
            GAP
            if row["value"] is None
            else f"{row['value']:.3f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]",
            GAP if row["p_value"] is None else names.p_value(row["p_value"]),
            row["published_note"],
        ]
        for row in rows
    ]
    return Block("As stated", ["benchmark", "backbones", "Pearson r", "t test", "the paper's words"], grid)


def _score_block(rows: Sequence[Row]) -> Block:
    grid = []
    for row in rows:
        interval = "" if row.get("ci_low") is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
        low = row.get("without_one_low")
        grid.append(
            [
                f"{facts(row['benchmark']).paper_title}, {row['model'].removesuffix(', given scores')}",
                "Pearson r" if row["metric"] == "pearson_r" else "Spearman rho",
                str(row["backbones"]),
                f"{row['value']:.3f}{interval}",
                names.p_value(row["p_value"]),
                GAP if low is None else f"{low:.2f} to {row['without_one_high']:.2f}",
            ]
        )
    header = ["benchmark", "coefficient", "backbones", "value", "p", "range without one backbone"]
    return Block("With the given question scores", header, grid)


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


def _score_sentence(row: Row) -> str:
    benchmark, group = facts(row["benchmark"]).paper_title, row["model"]
    name = "r" if row["metric"] == "pearson_r" else "rho"
    sentence = f"{benchmark}, {group}: {name} = {row['value']:.3f} over {row['backbones']} backbones, "
    sentence += f"{names.p_value(row['p_value'])}."
    if row["metric"] != "pearson_r":
        return sentence
    return (
        f"{sentence} Without one backbone, r is from {row['without_one_low']:.2f} (without {row['least']}) "
        f"to {row['without_one_high']:.2f} (without {row['most']})."
    )
