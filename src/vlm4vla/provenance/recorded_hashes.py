"""Whether the files of a study are still those that its stages recorded, before the study is packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.analysis.records import check_recorded
from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.study.artefact_chain import check_record, recorded_files
from vlm4vla.study.layout import EPISODES, PROVENANCE
from vlm4vla.study.results_folder import Results, read_json

AGAIN = "run the stage that writes it again"


def check_recorded_hashes(results: Results, records: Iterable[Path], weights: bool) -> None:
    """Compare the files and the inputs of each artefact with the hashes in its provenance record.

    `records`: the files with the records. `weights`: whether the weights of models are packed. Files that are
    not packed are compared if they are there, because a packed study states their hashes. Raises UserError
    (one line) for the first file that differs, with the number of the others.
    """
    problems = [line for path in records for line in _problems(results, path, weights)]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}: {AGAIN}, then pack again{more}")


def _problems(results: Results, path: Path, weights: bool) -> Iterator[str]:
    record = _record(path)
    if record is None:
        return
    check_record(path, record)
    for name, expected in recorded_files(record):
        file = path.parent / name
        if file.is_file():
            if file_hash(file) != expected:
                yield f"{file}: changed since its stage wrote it (another hash than in {path.name})"
        elif weights and file.suffix == ".safetensors":
            yield f"{file}: missing, but --weights packs it"
        elif file.name == EPISODES:
            yield f"{file}: missing"
    episodes = path.with_name(EPISODES)
    if path.name == PROVENANCE and episodes.is_file() and EPISODES not in dict(recorded_files(record)):
        try:
            check_recorded(episodes, pq.read_table(episodes, columns=["checkpoint", "solved"]).to_pandas())
        except UserError as error:
            yield str(error).partition(": run the rollout again")[0]
        except (pa.ArrowException, OSError):
            yield f"{episodes}: not a readable Parquet file"
    for entry in record["inputs"].values():
        made_from = results.locate(entry["path"])
        packed = made_from.is_relative_to(results.root) and made_from.is_file()
        if packed and file_hash(made_from) != entry["sha256"]:
            yield f"{made_from}: changed since {path.parent} was made from it"


def _record(path: Path) -> dict[str, Any] | None:
    """The provenance record in a file, which is the whole file or its part `provenance`; None without one."""
    content = read_json(path, AGAIN)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a provenance record: {AGAIN}")
    if "stage" in content:
        return content
    record = content.get("provenance")
    return record if isinstance(record, dict) else None
