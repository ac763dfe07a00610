"""The records that a number in a table comes from, and the number recomputed from these records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.paired import compare, table_spread
from vlm4vla.analysis.records import cell_records, read_episodes
from vlm4vla.analysis.seed_spread import SeedSpread
from vlm4vla.config.stages import TableSettings
from vlm4vla.conventions.benchmarks import metrics, score_metric
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.auxiliary_scores import read_own_scores
from vlm4vla.report.rows.capability_scores import OVERALL, read_capability
from vlm4vla.report.rows.paper_numbers import read_published
from vlm4vla.report.rows.transfers import REPEATS
from vlm4vla.report.tables.inputs import TableInputs
from vlm4vla.report.tables.transfer import rows_of
from vlm4vla.study.layout import EXECUTED
from vlm4vla.study.results_folder import Results
from vlm4vla.study.runs import REFERENCES

PUBLISHED = Path("workflow/published")
Cell = tuple[str, str, str, str]  # model, auxiliary, variant, benchmark


@dataclass
class Source:
    """The source of a number.

    `recomputed`: the number, computed from the files; None if the number cannot be recomputed here, for the
    `reason`. `rollouts`: the cell, the seed and the path of each episode file. `scores`: the provenance files
    of scores.
    """

    recomputed: float | None
    rollouts: list[tuple[Cell, int, Path]] = field(default_factory=list)
    scores: list[Path] = field(default_factory=list)
    reason: str = ""


def find_source(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    """The source of the number named `number` in `row`, a record of the table `analysis`.

    Raises UserError for missing files and for a metric without a rule.
    """
    metric, benchmark = row["metric"], row["benchmark"]
    if "published" in analysis["settings"]:  # a table of the published study, which has no records
        hashes = analysis["settings"]["published"]
        files = ", ".join(f"{name} (sha256 {digest})" for name, digest in hashes.items())
        return Source(None, reason=f"from the paper's numbers in workflow/published/: {files}")
    reader: Callable[..., Source]
    if "other_benchmark" in row or metric == REPEATS:
        reader = _transfer
    elif metric in ("pearson_r", "spearman_rho"):
        reader = _correlation
    elif benchmark == "questions":
        reader = _questions
    elif benchmark == "task":
        reader = _own_score
    elif metric in metrics(benchmark):
        reader = _policy
    else:
        raise UserError(
            f"metric {metric!r} on {benchmark!r}: trace has no rule for it: choose another metric"
        )
    source = reader(results, analysis, row, number)
    if number == "published":
        source.recomputed, source.reason = None, "copied from workflow/published/, see its README.md"
    return source


def _rollouts(
    results: Results, settings: Mapping[str, Any], cell: Cell, executed: int | None = None
) -> list[tuple[Cell, int, Path]]:
    """The rollouts of a cell. `executed`: the execution horizon, in tables that compare several."""
    seeds = [0] if cell[0] in REFERENCES else settings["seeds"]  # references have only the seed 0
    usual = executed is None or executed == settings["horizons"][cell[3]][0]
    wildcards = dict(zip(("vlm", "auxiliary", "variant", "benchmark"), cell, strict=True))
    wildcards["executed"] = "" if usual else f"{EXECUTED}{executed}"
    return [(cell, seed, results.path("rollout", **wildcards, seed=seed)) for seed in seeds]


def _records(settings: Mapping[str, Any], rollouts: Sequence[tuple[Cell, int, Path]]) -> pd.DataFrame:
    experts = settings["cells"].get("experts", ())
    paths = [path for _, _, path in rollouts]
    # A trace shows a changed file together with what it changes.
    own = {"study": settings["study"], "scale": settings["scale"], "experts": experts}
    return read_episodes(paths, **own, recorded=False)


def _cell_records(records: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    model, auxiliary, variant, benchmark = cell
    return cell_records(records, model, variant, benchmark, auxiliary)


def _policy(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    settings, metric = analysis["settings"], row["metric"]
    cell = (row["model"], row.get("auxiliary") or "none", row["variant"], row["benchmark"])
    rollouts = _rollouts(results, settings, cell, row.get("executed"))
    if number == "p_value" or number.startswith("difference"):
        other = _compared_with(cell, row["compared_with"])
        rollouts += _rollouts(results, settings, other)
        records = _records(settings, rollouts)
        spread = _spread(results, analysis, row)
        comparison = compare(_cell_records(records, cell), _cell_records(records, other), metric, spread)
        if comparison is None:
            return Source(None, rollouts, reason="one of the two policies has no episodes")
        key = {"difference_ci_low": "ci_low", "difference_ci_high": "ci_high"}.get(number, number)
        # The difference in a table can be the other policy minus this one.
        if row["difference"] * comparison.difference < 0:
            comparison = compare(_cell_records(records, other), _cell_records(records, cell), metric, spread)
        return Source(float(getattr(comparison, key)), rollouts)
    spread = _spread(results, analysis, row)
    found = estimate(_cell_records(_records(settings, rollouts), cell), metric, spread)
    recomputed = getattr(found, number, None) if found else None
    return Source(recomputed, rollouts, reason=_reason(recomputed, "not an estimate of one cell"))


def _spread(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any]) -> SeedSpread | None:
    """The spread of the training seeds over all policies of the row's table; None with one seed."""
    settings, key = analysis["settings"], ("benchmark", "metric", "executed")
    if len(settings["seeds"]) < 2:
        return None
    cells = dict.fromkeys(
        (other["model"], other.get("auxiliary") or "none", other["variant"], other["benchmark"])
        for other in analysis["records"]
        if [other.get(name) for name in key] == [row.get(name) for name in key]
        and other["value"] is not None
        and other["model"] not in REFERENCES
    )
    executed = row.get("executed")
    rollouts = [
        each for cell in cells for each in _rollouts(results, settings, cell, executed) if each[2].exists()
    ]
    records = _records(settings, rollouts)
    return table_spread([_cell_records(records, cell) for cell in cells], row["metric"])


def _reason(recomputed: float | None, reason: str) -> str:
    return reason if recomputed is None else ""


def _compared_with(cell: Cell, reference: str) -> Cell:
    """The other cell of a comparison: the same one without an auxiliary task, or with another variant."""
    model, auxiliary, variant, benchmark = cell
    if reference == "none":
        return (model, "none", variant, benchmark)
    return (model, auxiliary, reference, benchmark)


def _questions(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    auxiliary = row.get("auxiliary") or "none"
    path = results.path("capability", vlm=row["model"], auxiliary=auxiliary)
    paths, name = [path], row.get("question_set") or OVERALL
    score = read_capability([path])[row["model"], auxiliary][name]
    if number == "difference":
        base = results.path("capability", vlm=row["model"], auxiliary="none")
        paths.append(base)
        recomputed = score.value - read_capability([base])[row["model"], "none"][name].value
    else:
        recomputed = getattr(score, number, None)
    return Source(recomputed, scores=paths, reason=_reason(recomputed, "not a score"))


def _own_score(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    path = results.path("auxiliary", vlm=row["model"], task=row["auxiliary"])
    own = read_own_scores([path])[row["model"], row["auxiliary"]]
    score = own.before if row["metric"].endswith("before") else own.after
    recomputed = getattr(score, number, None)
    return Source(recomputed, scores=[path], reason=_reason(recomputed, "not a score"))


def _correlation(
    results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str
) -> Source:
    """Correlation over the backbones of the row, from their episodes and their question scores."""
    settings, benchmark = analysis["settings"], row["benchmark"]
    members = list(settings["cells"]["backbones"])
    if row["model"] != "all backbones":
        hidden = read_published(PUBLISHED, "main").notes
        members = [model for model in members if model not in hidden]
    cells = [(model, "none", row["variant"], benchmark) for model in members]
    rollouts = [each for cell in cells for each in _rollouts(results, settings, cell) if each[2].exists()]
    paths = [results.path("capability", vlm=model, auxiliary="none") for model in members]
    paths = [path for path in paths if path.exists()]
    records, scores = _records(settings, rollouts), read_capability(paths)
    points = []
    for cell in cells:
        found = estimate(_cell_records(records, cell), score_metric(benchmark))
        score = scores.get((cell[0], "none"), {}).get(row["question_set"])
        if found is not None and score is not None:
            points.append((score.value, found.value))
    result = correlate(*np.array(points).T) if len(points) > 2 else None
    if result is None:
        return Source(None, rollouts, paths, "too few backbones")
    names = {
        "pearson_r": {"value": "pearson", "p_value": "pearson_p", "ci_low": "ci_low", "ci_high": "ci_high"},
        "spearman_rho": {"value": "spearman", "p_value": "spearman_p"},
    }[row["metric"]]
    recomputed = getattr(result, names[number]) if number in names else None
    return Source(recomputed, rollouts, paths, _reason(recomputed, "not a correlation coefficient"))


def _transfer(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    """A rank correlation of two benchmarks, or how well a ranking repeats: the table's rows, made again."""
    settings = TableSettings.model_validate(analysis["settings"])
    rollouts = [
        each
        for name in settings.cells.benchmarks
        for model in settings.cells.backbones
        for each in _rollouts(results, analysis["settings"], (model, "none", "full", name))
        if each[2].exists()
    ]
    rows = rows_of(TableInputs(settings, [path for *_, path in rollouts], PUBLISHED, results.root))
    shown = (row["benchmark"], row.get("other_benchmark"))
    own = [each for each in rollouts if each[0][3] in shown]
    keys = ("benchmark", "other_benchmark", "other_study", "metric")
    again = next(
        (each for each in rows if [each.get(key) for key in keys] == [row.get(key) for key in keys]), None
    )
    if again is None:
        return Source(None, own, reason="the benchmark has no records")
    return Source(again.get(number), own, reason=_reason(again.get(number), "not a number of this row"))
