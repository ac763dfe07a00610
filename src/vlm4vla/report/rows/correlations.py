"""Correlations of question scores with policy scores, and their sensitivity: the numbers of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.groups import groupings
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.noise_free import noise_free_interval, shared_noise_variance
from vlm4vla.analysis.records import cell_records, outcome
from vlm4vla.analysis.sensitivity import GROUPS, by_family, leave_one_out, read
from vlm4vla.config.analysis import Margins
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.conventions.lineages import lineage
from vlm4vla.report import names
from vlm4vla.report.rows.capability_scores import OVERALL, Score
from vlm4vla.report.rows.cells import Row, pick
from vlm4vla.report.rows.paper_numbers import PublishedCorrelation
from vlm4vla.report.rows.table import GAP

ALL, PAPER_SUBSET = "all backbones", "the paper's backbones"


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
    margin: float | None = None,
) -> list[dict[str, Any]]:
    """How r of the overall score depends on single backbones, families and rollouts, for each benchmark.

    The outcome and the verdict are also added to the row of r (in place). `margin`: see `check`.
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
        found = check(row, known, x, y, families, margin)
        low, high = (None, None)
        if found["leave_one_out"]:
            runs = [cell_records(records, name, "full", benchmark) for name in known]
            questions = [scores[name][OVERALL] for name in known]
            low, high = rollout_interval(runs, questions, metric)
        checks.append(found | {"rollouts_ci": [low, high]})
    return checks


def check(
    row: Row,
    known: Sequence[str],
    x: np.ndarray,
    y: np.ndarray,
    families: Mapping[str, str],
    margin: float | None = None,
) -> dict[str, Any]:
    """How the r of `row` depends on single backbones, groups of them and families.

    The outcome and the verdict (`sensitivity.read`) are added to `row` (in place). `known`: the backbones of
    `row`. `x` and `y` (n,): their scores. `families`: by backbone; without the family of one of them,
    families are not checked. `margin`: a correlation is weak if its interval lies within it; the default of
    the configuration if None.
    """
    points = leave_one_out(x, y, [names.model(name) for name in known])
    grouped = lineages = None
    if points and all(name in families for name in known):
        lineages = [lineage(families[name]) for name in known]
        grouped = by_family(x, y, lineages)
    groups = groupings(x, y, given=lineages)
    found = read(
        row["value"],
        row["p_adjusted"],
        points,
        grouped,
        groups=groups,
        interval=(row["ci_low"], row["ci_high"]),
        count=row["backbones"],
        margin=Margins().correlation_margin if margin is None else margin,
    )
    row["outcome"], row["verdict"] = found.outcome, found.words
    return {
        "benchmark": row["benchmark"],
        "outcome": row["outcome"],
        "verdict": row["verdict"],
        "groups": [vars(each) | {"members": dict(zip(known, each.member, strict=True))} for each in groups],
        "leave_one_out": points and vars(points),
        "families": grouped and vars(grouped) | {"without": grouped.without and vars(grouped.without)},
    }


def printed_groups(check: Mapping[str, Any]) -> list[str]:
    """Three cells about the groups of a check: `3 + 7 by question score`, r within them, and its p.

    They are those that carry r, or else those that a gap separates, or else those of the families.
    """
    if not check["groups"]:
        return [GAP, GAP, GAP]
    shown = max(check["groups"], key=lambda each: (each["carries"], -len(each["sizes"])))
    r = GAP if shown["within"] is None else f"{shown['within']:.2f}"
    return [f"{' + '.join(map(str, shown['sizes']))} by {shown['by']}", r, names.p_number(shown["p_value"])]


def carrying_groups(check: Mapping[str, Any]) -> dict[str, int]:
    """The group of each backbone if the verdict is a difference of groups; empty for other verdicts."""
    if check["outcome"] != GROUPS:
        return {}
    return dict(_fewest(check)["members"])


def _fewest(check: Mapping[str, Any]) -> Mapping[str, Any]:
    """The groups that carry r: the fewest, if there are several such groupings."""
    return min((each for each in check["groups"] if each["carries"]), key=lambda each: len(each["sizes"]))


def groups_sentence(check: Mapping[str, Any]) -> str:
    """What carries r if its verdict is a difference of groups; empty for other verdicts."""
    if check["outcome"] != GROUPS:
        return ""
    shown = _fewest(check)
    r = "not defined" if shown["within"] is None else f"{shown['within']:.2f}"
    sizes = names.joined([str(size) for size in shown["sizes"]])
    return (
        f"the groups have {sizes} backbones, and within them r is {r} ({names.p_value(shown['p_value'])}, "
        "one-sided)"
    )


def finding(row: Row, check: Mapping[str, Any]) -> str:
    """`positive (r = 0.93, p < 0.001, with Holm's correction over benchmarks p = 0.003, 9 backbones)`.

    If its verdict is a difference of groups, what carries r follows. `row`: of a defined r.
    """
    carried = groups_sentence(check)
    return (
        f"{row['verdict']} (r = {row['value']:.2f}, {names.p_value(row['p_value'])}, with "
        f"Holm's correction over benchmarks {names.p_value(row['p_adjusted'])}, {row['backbones']} "
        "backbones)" + (f": {carried}" if carried else "")
    )


def printed_range(found: Mapping[str, Any] | None) -> str:
    """`-0.10 (Kosmos-2) to 0.52 (PaliGemma-1)`: the lowest and highest r, and what is left out for each."""
    if not found:
        return GAP
    low, high = (f"{found[end]:.2f} ({found[f'{end}_without']})" for end in ("low", "high"))
    missing = f"; not defined without {' or '.join(found['undefined'])}" if found["undefined"] else ""
    return f"{low} to {high}{missing}"


def rollout_interval(
    runs: Sequence[pd.DataFrame], questions: Sequence[Score], metric: str
) -> tuple[float, float] | tuple[None, None]:
    """The interval of r between the true scores of these backbones and of these trained policies.

    A true score is the mean over endlessly many initial states, or questions, of the same kind. All policies
    share the initial states. The records do not contain answers to single questions, so the noise of question
    scores is that of separate questions for each backbone: for shared ones, the interval can be too high.
    """
    states = [
        records.assign(outcome=outcome(records, metric)).groupby("episode")["outcome"].mean()
        for records in runs
    ]
    table = pd.concat(states, axis=1, join="inner")
    if table.empty:
        return None, None
    task = runs[0].drop_duplicates("episode").set_index("episode")["task"][table.index].to_numpy()
    x = np.array([each.value for each in questions])
    x_variance = float(np.mean([each.variance for each in questions]))
    y_variance = shared_noise_variance(table.to_numpy(), task if metric == "success_rate" else None)
    return noise_free_interval(x, table.to_numpy().mean(axis=0), x_variance, y_variance)


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
