"""Correlations of question scores with policy scores, and their sensitivity: the numbers of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.correlation import correlate, interval_of_draws
from vlm4vla.analysis.hierarchical import resampled_means
from vlm4vla.analysis.intervals import SEED
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.records import cell_records, outcome
from vlm4vla.analysis.sensitivity import by_family, leave_one_out, verdict
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.conventions.lineages import lineage
from vlm4vla.report import names
from vlm4vla.report.rows.capability_scores import OVERALL, Score
from vlm4vla.report.rows.cells import Row, pick
from vlm4vla.report.rows.paper_numbers import PublishedCorrelation

ALL, PAPER_SUBSET = "all backbones", "the paper's backbones"
LEVEL = 0.05
DRAWS = 10_000


def correlations(
    policies: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    models: Sequence[str],
    hidden: Mapping[str, str],
    benchmarks: Sequence[str],
    sets: Sequence[str],
    paper: Mapping[tuple[str, str], PublishedCorrelation],
) -> list[Row]:
    """Rows of Pearson's r, Spearman's rho and Kendall's tau for each benchmark.

    There are rows for each of the question `sets` over all backbones. If some of `models` are `hidden` (not
    in the paper's figure), there are also rows for the overall score over the other backbones.
    """
    rows = []
    groups = [(ALL, list(models), name) for name in sets]
    if any(model in hidden for model in models):
        groups.append((PAPER_SUBSET, [model for model in models if model not in hidden], OVERALL))
    # The published r leaves out the hidden backbone, so it belongs to the row of that group if there is one.
    compared = groups[-1][0] if len(groups) > len(sets) else ALL
    for benchmark in benchmarks:
        for group, members, name in groups:
            points = []
            for model in members:
                row = pick(policies, model, "full", benchmark, score_metric(benchmark))
                if row["value"] is not None and name in scores.get(model, {}):
                    points.append((scores[model][name].value, row["value"], row))
            result = correlate(*np.array([point[:2] for point in points]).T) if len(points) > 2 else None
            published = paper.get((benchmark, name)) if group == compared else None
            common = {
                "model": group,
                "variant": "full",
                "benchmark": benchmark,
                "episodes": min((point[2]["episodes"] for point in points), default=None),
                "seeds": min((point[2]["seeds"] for point in points), default=None),
                "question_set": name,
                "backbones": len(points),
                "p_method": result and result.p_method,
            }
            rows.append(
                common
                | {
                    "metric": "pearson_r",
                    "value": result and result.pearson,
                    "ci_low": result and result.ci_low,
                    "ci_high": result and result.ci_high,
                    "p_value": result and result.pearson_p,
                    "published": published and published.pearson,
                    "published_note": published and published.note,
                }
            )
            for metric, name in (("spearman_rho", "spearman"), ("kendall_tau", "kendall")):
                low, high = getattr(result, f"{name}_ci") if result else (None, None)
                rows.append(
                    common
                    | {
                        "metric": metric,
                        "value": result and getattr(result, name),
                        "ci_low": low,
                        "ci_high": high,
                        "p_value": result and getattr(result, f"{name}_p"),
                        "published": None,
                    }
                )
    return rows


def adjust(rows: Sequence[Row]) -> None:
    """Add Holm's p (in place).

    For each coefficient, one correction covers the tests of the overall score on all benchmarks, and another
    one covers the tests of the question sets.
    """
    families: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        key = (row["metric"], row["model"], row["question_set"] == OVERALL)
        families.setdefault(key, []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p_value"] for row in family]), strict=True):
            row["p_adjusted"] = p


def sensitivity(
    records: pd.DataFrame,
    policies: Sequence[Row],
    scores: Mapping[str, Mapping[str, Score]],
    models: Sequence[str],
    benchmarks: Sequence[str],
    rows: Sequence[Row],
    families: Mapping[str, str],
) -> list[dict[str, Any]]:
    """How r of the overall score depends on single backbones, families and rollouts, for each benchmark.

    The verdict is also added to the row of r (in place).
    """
    checks = []
    for benchmark in benchmarks:
        metric, row = score_metric(benchmark), pearson_row(rows, benchmark, OVERALL)
        cells = {name: pick(policies, name, "full", benchmark, metric) for name in models}
        known = [
            name for name in models if cells[name]["value"] is not None and OVERALL in scores.get(name, {})
        ]
        x = np.array([scores[name][OVERALL].value for name in known])
        y = np.array([cells[name]["value"] for name in known])
        points = leave_one_out(x, y, [names.model(name) for name in known])
        grouped = None
        if points and all(name in families for name in known):
            grouped = by_family(x, y, [lineage(families[name]) for name in known])
        row["verdict"] = verdict(row["value"], row["p_adjusted"], points, grouped)
        low, high = (None, None)
        if points:
            runs = [cell_records(records, name, "full", benchmark) for name in known]
            questions = [scores[name][OVERALL] for name in known]
            low, high = rollout_interval(runs, questions, metric)
        checks.append(
            {
                "benchmark": benchmark,
                "verdict": row["verdict"],
                "leave_one_out": points and vars(points),
                "families": grouped
                and vars(grouped) | {"without": grouped.without and vars(grouped.without)},
                "rollouts_ci": [low, high],
            }
        )
    return checks


def rollout_interval(
    runs: Sequence[pd.DataFrame], questions: Sequence[Score], metric: str
) -> tuple[float, float] | tuple[None, None]:
    """The interval of r for these backbones over other initial states and other questions.

    All backbones share the resampled initial states. The records do not contain answers to single questions,
    so each backbone's question score is drawn separately with `Score.redrawn`.
    """
    states = [
        records.assign(outcome=outcome(records, metric)).groupby("episode")["outcome"].mean()
        for records in runs
    ]
    table = pd.concat(states, axis=1, join="inner")
    if table.empty:
        return None, None
    task = runs[0].drop_duplicates("episode").set_index("episode")["task"][table.index].to_numpy()
    y = resampled_means(table.to_numpy(), task if metric == "success_rate" else None, DRAWS)
    random = np.random.default_rng(SEED)
    x = np.stack([each.redrawn(random, DRAWS) for each in questions], axis=1)
    return interval_of_draws(x, y)


def question_rows(scores: Mapping[str, Mapping[str, Score]], models: Sequence[str]) -> list[Row]:
    """Tidy rows of the question scores of each model, one per question set."""
    return [
        {
            "model": model,
            "variant": "backbone",
            "benchmark": "questions",
            "metric": "question_score",
            "value": score.value,
            "ci_low": score.ci_low,
            "ci_high": score.ci_high,
            "episodes": score.questions,
            "question_set": name,
        }
        for model in models
        for name, score in scores.get(model, {}).items()
    ]


def pearson_row(rows: Sequence[Row], benchmark: str, question_set: str, group: str = ALL) -> Row:
    """The row of Pearson's r for a benchmark, a question set and a group of backbones."""
    key = (benchmark, question_set, group, "pearson_r")
    return next(
        row for row in rows if (row["benchmark"], row["question_set"], row["model"], row["metric"]) == key
    )
