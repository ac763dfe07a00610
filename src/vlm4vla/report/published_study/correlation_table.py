"""Figure 3 of the paper: what its r says by itself, and r again where question scores are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.stated_r import fisher_interval, least_significant, t_test_p
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.published_study.numbers import EXPERT, Number
from vlm4vla.report.rows.cells import Row
from vlm4vla.report.rows.paper_numbers import PublishedCorrelation
from vlm4vla.report.rows.table import GAP, Block, Table

EXTRA = ("backbones", "p_value", "p_method", "without_one_low", "without_one_high", "published_note")
ALL, SHOWN = "all backbones", "the paper's backbones"


def build(
    numbers: Sequence[Number],
    stated: Mapping[tuple[str, str], PublishedCorrelation],
    scores: Mapping[str, float],
) -> Table:
    """The table; `scores` (model -> question score) may be empty."""
    rows = [_stated(benchmark, told) for (benchmark, _), told in stated.items()]
    backbones = [n for n in numbers if n.table == "main" and n.kind != EXPERT]
    measured = []
    if scores:
        benchmarks = dict.fromkeys(number.benchmark for number in backbones)
        measured = [row for name in benchmarks for row in _measured(name, backbones, scores)]
    blocks = [_stated_block(rows, stated)]
    blocks += [_measured_block(measured)] if measured else []
    missing = [] if scores else ["question scores of the backbones (write published_scores in config.yaml)"]
    return Table(
        name="published_correlation",
        title="Question scores and policy scores, as published",
        caption=(
            "Correlations that the paper states (arXiv 2601.03309, figure 3). Intervals by Fisher's z and p "
            "by the t test, from r and the number of backbones alone: they treat backbones as a random "
            "sample, and most are of one family."
            + (
                " With given question scores: percentile bootstrap over backbones, exact permutation p, and "
                "the range of r when one backbone is left out."
                if measured
                else ""
            )
        ),
        records=[*rows, *measured],
        blocks=blocks,
        verdicts=[*(_sentence(row) for row in rows), *(_again(row) for row in measured)],
        gaps=missing,
        extra=EXTRA,
        details={"scores": dict(scores)},
    )


def _stated(benchmark: str, told: PublishedCorrelation) -> Row:
    r, points = told.pearson, told.backbones
    low, high = fisher_interval(r, points) if r is not None else (None, None)
    return {
        "model": SHOWN,
        "variant": "full",
        "benchmark": benchmark,
        "metric": "pearson_r",
        "value": r,
        "ci_low": low,
        "ci_high": high,
        "published": r,
        "backbones": points,
        "p_value": None if r is None else t_test_p(r, points),
        "p_method": None if r is None else "t test",
        "published_note": told.note,
    }


def _measured(benchmark: str, backbones: Sequence[Number], scores: Mapping[str, float]) -> list[Row]:
    """r of the given scores: over all backbones that have one, and without hidden rows."""
    here = [
        number
        for number in backbones
        if number.benchmark == benchmark
        and number.metric == score_metric(benchmark)
        and number.model in scores
    ]
    groups = [(ALL, here)]
    shown = [number for number in here if not number.note]
    groups += [(SHOWN, shown)] if len(shown) < len(here) else []
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
    """r; 0 where a side no longer changes."""
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else 0.0


def _stated_block(rows: Sequence[Row], stated: Mapping[tuple[str, str], PublishedCorrelation]) -> Block:
    grid = [
        [
            names.PAPER_BENCHMARKS[row["benchmark"]],
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


def _measured_block(rows: Sequence[Row]) -> Block:
    grid = []
    for row in rows:
        interval = "" if row.get("ci_low") is None else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
        left = row.get("without_one_low")
        grid.append(
            [
                f"{names.PAPER_BENCHMARKS[row['benchmark']]}, {row['model'].removesuffix(', given scores')}",
                "Pearson r" if row["metric"] == "pearson_r" else "Spearman rho",
                str(row["backbones"]),
                f"{row['value']:.3f}{interval}",
                names.p_value(row["p_value"]),
                GAP if left is None else f"{left:.2f} to {row['without_one_high']:.2f}",
            ]
        )
    header = ["benchmark", "coefficient", "backbones", "value", "p", "one left out"]
    return Block("With the given question scores", header, grid)


def _sentence(row: Row) -> str:
    where = names.PAPER_BENCHMARKS[row["benchmark"]]
    least = least_significant(row["backbones"])
    if row["value"] is None:
        return (
            f"{where}: the paper gives no r; not significant over {row['backbones']} backbones means |r| "
            f"below {least:.2f}, so a correlation of that size is not excluded."
        )
    return (
        f"{where}: r = {row['value']:.3f} over {row['backbones']} backbones "
        f"({names.p_value(row['p_value'])}) leaves a true correlation anywhere from "
        f"{row['ci_low']:.2f} to {row['ci_high']:.2f}."
    )


def _again(row: Row) -> str:
    where, group = names.PAPER_BENCHMARKS[row["benchmark"]], row["model"]
    name = "r" if row["metric"] == "pearson_r" else "rho"
    told = f"{where}, {group}: {name} = {row['value']:.3f} over {row['backbones']}, "
    told += names.p_value(row["p_value"])
    if row["metric"] != "pearson_r":
        return told + "."
    return (
        f"{told}; from {row['without_one_low']:.2f} without {row['least']} to "
        f"{row['without_one_high']:.2f} without {row['most']}."
    )
