"""A stage's output: held by one process at a time, and whether it is made already."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlm4vla.artefacts import canonical_json, file_hash
from vlm4vla.settings import RolloutSettings


def is_file(output: Path) -> bool:
    """Whether a stage makes one JSON file, not a folder; a folder's name may hold dots."""
    return output.suffix == ".json"


@contextlib.contextmanager
def alone(output: Path) -> Iterator[bool]:
    """Hold `output` for this process; yields whether another held it before.

    A killed workflow leaves its jobs running: the rerun's job waits here instead of writing beside them.
    """
    folder = output.parent if is_file(output) else output
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f".{output.stem}.lock" if is_file(output) else ".lock")
    waited = False
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            print(f"{output}: another process is making it, waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield waited


def is_made(output: Path, settings: Any, inputs: dict[str, Path]) -> bool:
    """Whether `output` is whole, of these settings and of these inputs."""
    path = output if is_file(output) else output / "provenance.json"
    # A rollout's declared file is its episodes: Snakemake deletes it, not the provenance, before a rerun.
    declared = output / "episodes.parquet" if isinstance(settings, RolloutSettings) else path
    if not path.exists() or not declared.exists():
        return False
    record = json.loads(path.read_text())
    record = record.get("provenance", record)
    same = canonical_json(record["settings"]) == canonical_json(settings.model_dump(mode="json"))
    hashes = {entry["sha256"] for entry in record["inputs"].values()}
    return same and all(file_hash(folder / "provenance.json") in hashes for folder in inputs.values())
