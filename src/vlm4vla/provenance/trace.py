"""`vlm4vla trace`: find everything that a number of a table was made from, and verify it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vlm4vla.core.artefacts import canonical_json, checkpoint_hash, file_hash, files_of
from vlm4vla.core.errors import UserError
from vlm4vla.core.markup import csv_text
from vlm4vla.provenance.addresses import COLUMN_KEYS, ROW_KEYS, find_number
from vlm4vla.provenance.sources import Cell, find_source
from vlm4vla.study.artefact_chain import FINE, Chain
from vlm4vla.study.layout import PROVENANCE
from vlm4vla.study.results_folder import Results

_CELL = ["model", "auxiliary", "variant", "benchmark", "seed"]  # columns that are the same in a rollout
_TOLERANCE = 1e-9  # relative and absolute; JSON keeps every digit of a float


def run(results: Results, table: str, row: str, column: str, as_json: bool) -> None:
    """Print the trace. Then raise UserError if a file is changed or missing, or if the number differs."""
    found = trace(results, table, row, column)
    print(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))
    problems = found["problems"]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UserError(f"trace: {problems[0]}{more}")


def trace(results: Results, table: str, row: str, column: str) -> dict[str, Any]:
    """Everything that a number was made from, as JSON values.

    Raises UserError if `row` and `column` match no number or several numbers, and if records are missing.
    """
    analysis = results.analysis(table)
    settings = analysis["settings"]
    missing = [key for key in ("study", "scale", "seeds", "cells") if key not in settings]
    if missing and "published" not in settings:
        path = results.path("analysis", table=table)
        raise UserError(f"{path}: settings.{missing[0]} is missing: make the table again")
    record, number = find_number(table, analysis["records"], row, column)
    source = find_source(results, analysis, record, number)
    chain, rollouts = Chain(results), []
    for cell, seed, path in source.rollouts:
        rollouts.append(_rollout(chain, cell, seed, path))
    for path in source.scores:
        chain.follow(path)
    problems = [line for rollout in rollouts for line in rollout["problems"]] + chain.problems()
    value, recomputed = record[number], source.recomputed
    agrees = None if recomputed is None else _equal(value, recomputed)
    if agrees is False:
        problems.insert(
            0, f"{number} in analysis/{table}.json is {value:.6g}, but the records give {recomputed:.6g}"
        )
    printed = _csv_number(results, table, record, number)
    csv_agrees = None if printed is None else printed == f"{value:.6g}"
    if csv_agrees is False:
        problems.insert(
            0, f"{number} in tables/{table}.csv is {printed}, but analysis/{table}.json has {value:.6g}"
        )
    keys = (*ROW_KEYS, *(key for key in COLUMN_KEYS if key != "benchmark"))
    return {
        "results": str(results.root),
        "table": table,
        "cell": {key: record[key] for key in keys if record.get(key)},
        "number": number,
        "value": value,
        "interval": [record.get("ci_low"), record.get("ci_high")] if number == "value" else None,
        "episodes": record.get("episodes"),
        "seeds": record.get("seeds"),
        "again": recomputed,
        "equals_table": agrees,
        "equals_csv": csv_agrees,
        "not_computed": source.reason,
        "rollouts": rollouts,
        "scores": [str(path) for path in source.scores],
        "artefacts": {path: artefact.summary() for path, artefact in chain.artefacts.items()},
        "problems": problems,
    }


def _equal(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _rollout(chain: Chain, cell: Cell, seed: int, path: Path) -> dict[str, Any]:
    """One episode file and its checkpoint, compared with the recorded hashes."""
    episodes = pq.read_table(path, columns=[*_CELL, "checkpoint", "protocol", "solved"])
    artefact = chain.follow(path.parent / PROVENANCE)
    record = artefact.record if artefact else {}
    checkpoint = episodes["checkpoint"][0].as_py()
    problems = []
    if episodes.select(_CELL).group_by(_CELL).aggregate([]).to_pylist() != [
        dict(zip(_CELL, (*cell, seed), strict=True))
    ]:
        problems.append(f"{path}: has episodes of another cell or seed than its folder")
    if artefact and artefact.stage != "rollout":
        problems.append(f"{path.parent / PROVENANCE}: is of the stage {artefact.stage!r}, not of a rollout")
    if artefact and record.get("checkpoint") not in (None, checkpoint):
        problems.append(f"{path}: its episodes and its provenance have different checkpoints")
    if record.get("episodes") not in (None, len(episodes)):
        problems.append(f"{path}: has {len(episodes)} episodes, but its provenance has {record['episodes']}")
    if record.get("mean_solved") is not None:
        solved = float(np.mean(episodes["solved"].to_numpy()))
        if not _equal(solved, record["mean_solved"]):
            recorded = record["mean_solved"]
            problems.append(
                f"{path}: the mean of solved is {solved:.6g}, but its provenance has {recorded:.6g}"
            )
    folder, state = None, None
    if artefact and "vla" in artefact.inputs:
        folder = Path(artefact.inputs["vla"]).parent
        if files_of(folder, "**/*.safetensors"):
            state = FINE if checkpoint_hash(folder) == checkpoint else "changed"
        else:
            state = "missing"
        if state != FINE:
            problems.append(f"{folder}: the checkpoint's weights are {state}")
    return {
        "cell": "/".join(cell),
        "seed": seed,
        "episodes_file": str(path),
        "sha256": file_hash(path),
        "episodes": len(episodes),
        "protocol": episodes["protocol"][0].as_py(),
        "checkpoint": checkpoint,
        "checkpoint_folder": None if folder is None else str(folder),
        "checkpoint_state": state,
        "provenance": str(path.parent / PROVENANCE),
        "problems": problems,
    }


def _csv_number(results: Results, table: str, record: Mapping[str, Any], number: str) -> str | None:
    """The number as text in tables/{table}.csv; None without the file or the row."""
    keys = (*ROW_KEYS, *COLUMN_KEYS[1:])
    for row in results.csv_rows(table):
        if all(row[key] == csv_text(str(record.get(key) or "")) for key in keys if key in row):
            return row.get(number)
    return None


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The trace as lines of text."""
    cell = ", ".join(found["cell"].values())
    yield f"{found['table']}: {cell}: {found['number']} {found['value']:.6g}"
    interval = found["interval"]
    if interval and None not in interval:
        yield f"  95 % interval {interval[0]:.6g} to {interval[1]:.6g}"
    if found["episodes"]:
        yield f"  {found['episodes']} initial states or questions, {found['seeds'] or 'no'} training seed(s)"
    if found["again"] is None:
        yield f"  not recomputed: {found['not_computed']}"
    else:
        relation = "equals" if found["equals_table"] else "DIFFERS FROM"
        yield f"  recomputed from the records: {found['again']:.6g}, {relation} the table's number"
    if found["equals_csv"] is not None:
        relation = "equals" if found["equals_csv"] else "DIFFERS FROM"
        yield f"  the number in tables/{found['table']}.csv {relation} that in analysis/{found['table']}.json"
    for rollout in found["rollouts"]:
        yield f"records of {rollout['cell']}, seed {rollout['seed']}"
        yield f"  {rollout['episodes_file']}"
        yield f"  sha256 {rollout['sha256']}, {rollout['episodes']} episodes"
        yield f"  protocol: {rollout['protocol']}"
        yield f"  checkpoint {rollout['checkpoint']}"
        folder, state = rollout["checkpoint_folder"], rollout["checkpoint_state"]
        if folder:
            yield f"  folder of the checkpoint {folder}: weights {state}"
    for path, artefact in found["artefacts"].items():
        yield f"{artefact['stage']}: {path}"
        yield f"  sha256 {artefact['sha256']}"
        yield f"  commit {artefact['commit']}, seed {artefact['seed']}, started {artefact['started']}"
        packages = artefact["packages"] or {}
        yield f"  python {artefact['python']}, " + ", ".join(f"{k} {v}" for k, v in packages.items())
        yield f"  settings {canonical_json(artefact['settings'])}"
        for name, file in artefact["files"].items():
            yield f"  file {name}: {file['state']} (sha256 {file['sha256']})"
        for name, other in artefact["inputs"].items():
            yield f"  made from {name}: {other}"
    count = len(found["artefacts"])
    if found["problems"]:
        yield from (f"PROBLEM {line}" for line in found["problems"])
    else:
        yield f"all {count} artefacts and their files match the recorded hashes"
