"""Figure 3 of the paper as numbers: does a VLM's question score foretell the score of its policy?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.correlation import correlate, interval_of_draws
from vlm4vla.analysis.estimates import score_metric
from vlm4vla.analysis.hierarchical import resampled_means
from vlm4vla.analysis.intervals import SEED
from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.records import outcome, run_of
from vlm4vla.analysis.sensitivity import by_family, leave_one_out, verdict
from vlm4vla.report import captions, names
from vlm4vla.report.capability_scores import OVERALL, Score, read_capability
from vlm4vla.report.cells import Row, measure, pick, printed
from vlm4vla.report.correlation_figure import draw_scatter, draw_sets
from vlm4vla.report.published import PublishedCorrelation, read_published, read_published_correlation
from vlm4vla.report.table import GAP, Block, Table

ALL, PAPER_SUBSET = "all backbones", "the paper's backbones"
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
LEVEL = 0.05
DRAWS = 10_000


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
    rows = _correlations(policies, scores, models, hidden, benchmarks, sets, paper)
    _adjust(rows)
    checks = _sensitivity(records, policies, scores, models, benchmarks, rows, settings.get("families", {}))
    draw_scatter(policies, scores, models, benchmarks, rows, scale, output / "figures" / "correlation")
    draw_sets(rows, benchmarks, sets, scale, output / "figures" / "correlation_sets")
    return Table(
        name="correlation",
        title=f"Question scores and policy scores, {scale} scale",
        caption=_caption(policies, rows, scores, settings),
        records=[*rows, *_question_rows(scores, models)],
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


def _correlations(
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


def _adjust(rows: Sequence[Row]) -> None:
    """Add Holm's p (in place): over a coefficient's tests of the overall score on all benchmarks,
    and over its tests of the question sets."""
    families: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        key = (row["metric"], row["model"], row["question_set"] == OVERALL)
        families.setdefault(key, []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p_value"] for row in family]), strict=True):
            row["p_adjusted"] = p


def _sensitivity(
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
        metric, row = score_metric(benchmark), _find(rows, benchmark, OVERALL, ALL)
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
            low, high = _rollout_interval(runs, questions, metric)
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


def _rollout_interval(
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


def _question_rows(scores: Mapping[str, Mapping[str, Score]], models: Sequence[str]) -> list[Row]:
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
            row = _find(rows, benchmark, name, ALL)
            line += _tested(row)
        grid.append(line)
    return Block("Each question set", header, grid, rules=[1])


def _find(rows: Sequence[Row], benchmark: str, question_set: str, group: str) -> Row:
    key = (benchmark, question_set, group, "pearson_r")
    return next(
        row for row in rows if (row["benchmark"], row["question_set"], row["model"], row["metric"]) == key
    )


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
        row, shown = _find(rows, benchmark, OVERALL, ALL), names.benchmark(benchmark, scale)
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
        captions.scale_sentence(scale),
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
