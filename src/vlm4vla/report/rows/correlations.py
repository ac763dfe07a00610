"""Correlations of question scores with policies' scores, and how far they hold: the numbers of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.correlation import correlate, interval_of_draws
from vlm4vla.analysis.hierarchical import resampled_means
from vlm4vla.analysis.intervals import SEED
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.records import outcome, run_of
from vlm4vla.analysis.sensitivity import by_family, leave_one_out, verdict
from vlm4vla.conventions.benchmarks import score_metric
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
    """Pearson and Spearman rows: each question set over all backbones, and overall over the paper's."""
    rows = []
    groups = [(ALL, list(models), name) for name in sets]
    if any(model in hidden for model in models):
        groups.append((PAPER_SUBSET, [model for model in models if model not in hidden], OVERALL))
    # the published r is over the backbones without the hidden one: it belongs to that row where there is one
    compared = groups[-1][0] if len(groups) > len(sets) else ALL
    for benchmark in benchmarks:
        for group, members, name in groups:
            points = []
            for model in members:
                row = pick(policies, model, "full", benchmark, score_metric(benchmark))
                if row["value"] is not None and name in scores.get(model, {}):
                    points.append((scores[model][name].value, row["value"], row))
            result = correlate(*np.array([point[:2] for point in points]).T) if len(points) > 2 else None
            told = paper.get((benchmark, name)) if group == compared else None
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
                    "published": told and told.pearson,
                    "published_note": told and told.note,
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
    """Add Holm's p (in place): over a coefficient's tests of the overall score on all benchmarks,
    and over its tests of the question sets."""
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
    """What the overall score's r on each benchmark hangs on; its verdict goes to r's row too (in place)."""
    checks = []
    for benchmark in benchmarks:
        metric, row = score_metric(benchmark), find(rows, benchmark, OVERALL, ALL)
        cells = {name: pick(policies, name, "full", benchmark, metric) for name in models}
        known = [
            name for name in models if cells[name]["value"] is not None and OVERALL in scores.get(name, {})
        ]
        x = np.array([scores[name][OVERALL].value for name in known])
        y = np.array([cells[name]["value"] for name in known])
        points = leave_one_out(x, y, [names.model(name) for name in known])
        grouped = None
        if points and all(name in families for name in known):
            grouped = by_family(x, y, [families[name] for name in known])
        row["verdict"] = verdict(row["value"], row["p_adjusted"], points, grouped)
        low, high = (None, None)
        if points:
            runs = [run_of(records, name, "full", benchmark) for name in known]
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
    """Interval of r for these backbones: initial states resampled, the same for all; answers redrawn.

    Answers to single questions are not in the records: their score is drawn as `Score.redrawn` says, each
    backbone's apart.
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


def find(rows: Sequence[Row], benchmark: str, question_set: str, group: str) -> Row:
    key = (benchmark, question_set, group, "pearson_r")
    return next(
        row for row in rows if (row["benchmark"], row["question_set"], row["model"], row["metric"]) == key
    )
