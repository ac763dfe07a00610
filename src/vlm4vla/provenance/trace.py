"""`vlm4vla trace`: from one number of a table to everything that it was made from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vlm4vla.core.artefacts import canonical_json, checkpoint_hash, file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.provenance.addresses import COLUMN_KEYS, ROW_KEYS, find_number
from vlm4vla.provenance.sources import Cell, find_source
from vlm4vla.study.artefact_chain import FINE, Chain
from vlm4vla.study.results_folder import Results

_SAME = 1e-9  # relative: JSON holds every digit of a float


def run(results: Results, table: str, row: str, column: str, as_json: bool) -> None:
    """Print the trace. Raises UserError, after printing, when a file changed or is missing, or when the
    number is another now."""
    found = trace(results, table, row, column)
    print(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))
    problems = found["problems"]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UserError(f"trace: {problems[0]}{more}")


def trace(results: Results, table: str, row: str, column: str) -> dict[str, Any]:
    """Everything behind one number, as JSON values.

    Raises UserError for words that name no number or several, and for records that are missing.
    """
    analysis = results.analysis(table)
    record, number = find_number(table, analysis["records"], row, column)
    source = find_source(results, analysis, record, number)
    chain, rollouts = Chain(results), []
    for cell, seed, path in source.rollouts:
        rollouts.append(_rollout(chain, cell, seed, path))
    for path in source.others:
        chain.follow(path)
    problems = [line for rollout in rollouts for line in rollout["problems"]] + chain.problems()
    value, again = record[number], source.again
    agrees = None if again is None else math.isclose(value, again, rel_tol=_SAME, abs_tol=_SAME)
    if agrees is False:
        problems.insert(0, f"{number} in analysis/{table}.json is {value:.6g}, the records give {again:.6g}")
    printed = _csv_number(results, table, record, number)
    csv_agrees = None if printed is None else printed == f"{value:.6g}"
    if csv_agrees is False:
        problems.insert(
            0, f"{number} in tables/{table}.csv is {printed}, analysis/{table}.json has {value:.6g}"
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
        "again": again,
        "equals_table": agrees,
        "equals_csv": csv_agrees,
        "not_computed": source.why,
        "rollouts": rollouts,
        "scores": [str(path) for path in source.others],
        "artefacts": {path: artefact.summary() for path, artefact in chain.artefacts.items()},
        "problems": problems,
    }


def _rollout(chain: Chain, cell: Cell, seed: int, path: Path) -> dict[str, Any]:
    """One episode file, its checkpoint, and whether both are as recorded."""
    episodes = pq.read_table(path, columns=["checkpoint", "protocol", "solved"])
    artefact = chain.follow(path.parent / "provenance.json")
    record = artefact.record if artefact else {}
    checkpoint = episodes["checkpoint"][0].as_py()
    problems = []
    if artefact and record.get("checkpoint") not in (None, checkpoint):
        problems.append(f"{path}: its episodes are of another checkpoint than its provenance says")
    if record.get("episodes") not in (None, len(episodes)):
        problems.append(f"{path}: {len(episodes)} episodes, its provenance says {record['episodes']}")
    if record.get("mean_solved") is not None:
        solved = float(np.mean(episodes["solved"].to_numpy()))
        if not math.isclose(solved, record["mean_solved"], rel_tol=_SAME, abs_tol=_SAME):
            told = f"{solved:.6g} solved in the mean, its provenance says {record['mean_solved']:.6g}"
            problems.append(f"{path}: {told}")
    folder, state = None, None
    if artefact and "vla" in artefact.inputs:
        folder = Path(artefact.inputs["vla"]).parent
        if any(folder.rglob("*.safetensors")):
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
        "provenance": str(path.parent / "provenance.json"),
        "problems": problems,
    }


def _csv_number(results: Results, table: str, record: Mapping[str, Any], number: str) -> str | None:
    """The number as tables/{table}.csv has it; None without the file or the row."""
    keys = (*ROW_KEYS, *COLUMN_KEYS[1:])
    for row in results.csv_rows(table):
        if all(row[key] == str(record.get(key) or "") for key in keys if key in row):
            return row.get(number)
    return None


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The trace for a reader."""
    cell = ", ".join(found["cell"].values())
    yield f"{found['table']}: {cell}: {found['number']} {found['value']:.6g}"
    interval = found["interval"]
    if interval and None not in interval:
        yield f"  95 % interval {interval[0]:.6g} to {interval[1]:.6g}"
    if found["episodes"]:
        yield f"  {found['episodes']} initial states or questions, {found['seeds'] or 'no'} training seed(s)"
    if found["again"] is None:
        yield f"  not computed again: {found['not_computed']}"
    else:
        equal = "equals" if found["equals_table"] else "IS NOT"
        yield f"  again from the records: {found['again']:.6g}, {equal} the table's"
    if found["equals_csv"] is not None:
        equal = "equals" if found["equals_csv"] else "IS NOT"
        yield f"  tables/{found['table']}.csv {equal} analysis/{found['table']}.json"
    for rollout in found["rollouts"]:
        yield f"records of {rollout['cell']}, seed {rollout['seed']}"
        yield f"  {rollout['episodes_file']}"
        yield f"  sha256 {rollout['sha256']}, {rollout['episodes']} episodes"
        yield f"  protocol: {rollout['protocol']}"
        yield f"  checkpoint {rollout['checkpoint']}"
        folder, state = rollout["checkpoint_folder"], rollout["checkpoint_state"]
        if folder:
            yield f"  checkpoint's folder {folder}: weights {state}"
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
        yield f"all {count} artefacts and their files are as recorded"
