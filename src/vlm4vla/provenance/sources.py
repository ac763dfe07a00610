"""Where the number of a table's row comes from, and the number again from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.correlation import correlate
from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.paired import compare
from vlm4vla.analysis.records import read_episodes, run_of
from vlm4vla.conventions.benchmarks import METRICS, score_metric
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.auxiliary_scores import read_own_scores
from vlm4vla.report.rows.capability_scores import OVERALL, read_capability
from vlm4vla.report.rows.paper_numbers import read_published
from vlm4vla.study.results_folder import Results

REFERENCES = ("random", "expert")  # their rollouts have the one seed 0
PUBLISHED = Path("workflow/published")
Cell = tuple[str, str, str, str]  # model, auxiliary, variant, benchmark


@dataclass
class Source:
    """`again`: the number, computed from the files; None where no rule for it is known here (`why`).

    `rollouts`: episode files with their cell and seed. `others`: scores with a provenance.
    """

    again: float | None
    rollouts: list[tuple[Cell, int, Path]] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    why: str = ""


def find_source(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    """The source of `row`'s `number` in the table of `analysis`. Raises UserError for missing files."""
    metric, benchmark = row["metric"], row["benchmark"]
    if "published" in analysis["settings"]:  # the study of the paper's numbers alone
        hashes = analysis["settings"]["published"]
        told = ", ".join(f"{name} (sha256 {digest})" for name, digest in hashes.items())
        return Source(None, why=f"from the paper's numbers in workflow/published/: {told}")
    reader: Callable[..., Source]
    if metric in ("pearson_r", "spearman_rho"):
        reader = _correlation
    elif benchmark == "questions":
        reader = _questions
    elif benchmark == "task":
        reader = _own_score
    elif metric in METRICS[benchmark]:
        reader = _policy
    else:
        raise UserError(f"metric {metric!r} on {benchmark!r}: no way back to its records is known")
    source = reader(results, analysis, row, number)
    if number == "published":
        source.again, source.why = None, "copied from workflow/published/, see its README.md"
    return source


def _rollouts(
    results: Results, settings: Mapping[str, Any], cell: Cell, executed: int | None = None
) -> list[tuple[Cell, int, Path]]:
    """`executed`: steps of a chunk, where the table tries several."""
    seeds = [0] if cell[0] in REFERENCES else settings["seeds"]
    folder = results.cell_folder(*cell)
    own = executed is None or executed == settings["horizons"][cell[3]][0]
    more = "" if own else f"-executed{executed}"
    return [(cell, seed, folder / f"seed{seed}{more}" / "episodes.parquet") for seed in seeds]


def _records(settings: Mapping[str, Any], rollouts: Sequence[tuple[Cell, int, Path]]) -> pd.DataFrame:
    experts = settings["cells"].get("experts", ())
    paths = [path for _, _, path in rollouts]
    return read_episodes(paths, study=settings["study"], scale=settings["scale"], experts=experts)


def _of(records: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    model, auxiliary, variant, benchmark = cell
    return run_of(records, model, variant, benchmark, auxiliary)


def _policy(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    settings, metric = analysis["settings"], row["metric"]
    cell = (row["model"], row.get("auxiliary") or "none", row["variant"], row["benchmark"])
    rollouts = _rollouts(results, settings, cell, row.get("executed"))
    if number == "p_value" or number.startswith("difference"):
        other = _compared_with(cell, row["compared_with"])
        rollouts += _rollouts(results, settings, other)
        records = _records(settings, rollouts)
        found = compare(_of(records, cell), _of(records, other), metric)
        if found is None:
            return Source(None, rollouts, why="one side has no episodes")
        key = {"difference_ci_low": "ci_low", "difference_ci_high": "ci_high"}.get(number, number)
        # a table may show the other policy minus this one
        if row["difference"] * found.difference < 0:
            found = compare(_of(records, other), _of(records, cell), metric)
        return Source(float(getattr(found, key)), rollouts)
    found = estimate(_of(_records(settings, rollouts), cell), metric)
    again = getattr(found, number, None) if found else None
    return Source(again, rollouts, why="" if again is not None else "not an estimate of one cell")


def _compared_with(cell: Cell, reference: str) -> Cell:
    """The other cell of a comparison: without an auxiliary task, or of another variant."""
    model, auxiliary, variant, benchmark = cell
    if reference == "none":
        return (model, "none", variant, benchmark)
    return (model, auxiliary, reference, benchmark)


def _questions(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    auxiliary = row.get("auxiliary") or "none"
    path = results.root / "capability" / row["model"] / f"{auxiliary}.json"
    paths, name = [path], row.get("question_set") or OVERALL
    score = read_capability([path])[row["model"], auxiliary][name]
    if number == "difference":
        base = results.root / "capability" / row["model"] / "none.json"
        paths.append(base)
        again = score.value - read_capability([base])[row["model"], "none"][name].value
    else:
        again = getattr(score, number, None)
    return Source(again, others=paths, why="" if again is not None else "not a score")


def _own_score(results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str) -> Source:
    folder = results.root / "auxiliary" / row["model"] / row["auxiliary"]
    own = read_own_scores([folder / "provenance.json"])[row["model"], row["auxiliary"]]
    score = own.before if row["metric"].endswith("before") else own.after
    again = getattr(score, number, None)
    return Source(again, others=[folder / "provenance.json"], why="" if again is not None else "not a score")


def _correlation(
    results: Results, analysis: Mapping[str, Any], row: Mapping[str, Any], number: str
) -> Source:
    """r over the backbones that the row is about, from every one's episodes and question score."""
    settings, benchmark = analysis["settings"], row["benchmark"]
    members = list(settings["cells"]["backbones"])
    if row["model"] != "all backbones":
        hidden = read_published(PUBLISHED, "main").notes
        members = [model for model in members if model not in hidden]
    cells = [(model, "none", row["variant"], benchmark) for model in members]
    rollouts = [one for cell in cells for one in _rollouts(results, settings, cell) if one[2].exists()]
    paths = [results.root / "capability" / model / "none.json" for model in members]
    paths = [path for path in paths if path.exists()]
    records, scores = _records(settings, rollouts), read_capability(paths)
    points = []
    for cell in cells:
        found = estimate(_of(records, cell), score_metric(benchmark))
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
    again = getattr(result, names[number]) if number in names else None
    return Source(again, rollouts, paths, "" if again is not None else "not a coefficient")
