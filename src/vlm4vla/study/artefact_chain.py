"""An artefact and all artefacts that it was made from, compared with the recorded hashes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import bad_name
from vlm4vla.study.results_folder import Results, read_json

FINE, CHANGED, MISSING = "as recorded", "changed", "missing"


@dataclass
class RecordedArtefact:
    """A provenance record: a provenance.json, or the part `provenance` of a capability score.

    `sha256`: the hash of the record's file. `files`: hash and state of each file that the record lists.
    `inputs`: the name of each input and its path now. `problems`: one line for each file that is missing or
    changed.
    """

    path: Path
    sha256: str
    record: dict[str, Any]
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def stage(self) -> str:
        return self.record.get("stage", "?")

    def summary(self) -> dict[str, Any]:
        """The record as JSON values."""
        keys = ("stage", "settings", "seed", "commit", "python", "packages", "started", "wall_seconds")
        found = {key: self.record.get(key) for key in keys}
        return found | {
            "sha256": self.sha256,
            "files": self.files,
            "inputs": self.inputs,
            "problems": self.problems,
        }


class Chain:
    """Recorded artefacts by the path of their provenance. Each file is read and hashed once."""

    def __init__(self, results: Results):
        self.results = results
        self.artefacts: dict[str, RecordedArtefact] = {}
        self._problems: list[str] = []

    def follow(self, path: Path, expected: str | None = None, used_by: str = "") -> RecordedArtefact | None:
        """Read the artefact of a provenance file and all artefacts that it was made from.

        `expected`: the SHA-256 of the file in the record of the artefact `used_by`. Returns None if the file
        is missing.
        """
        key = str(path)
        if not path.exists():
            self._add_problem(f"{path}: missing" + (f", an input of {used_by}" if used_by else ""))
            return None
        artefact = self.artefacts.get(key)
        if artefact is None:
            artefact = self.artefacts[key] = self._read(path)
            for name, entry in (artefact.record.get("inputs") or {}).items():
                other = self.results.locate(entry["path"])
                artefact.inputs[name] = str(other)
                self.follow(other, entry["sha256"], key)
        if expected is not None and artefact.sha256 != expected:
            self._add_problem(f"{path}: changed since {used_by} was made from it")
        return artefact

    def problems(self) -> list[str]:
        """One line for each file that is missing or that differs from its record."""
        return [*self._problems, *(line for each in self.artefacts.values() for line in each.problems)]

    def _add_problem(self, line: str) -> None:
        if line not in self._problems:
            self._problems.append(line)

    def _read(self, path: Path) -> RecordedArtefact:
        content = read_json(path, "run the stage that writes it again")
        record = content.get("provenance", content) if isinstance(content, dict) else None
        if not isinstance(record, dict):
            raise UserError(f"{path}: has no provenance record: run the stage that writes it again")
        check_record(path, record)
        artefact = RecordedArtefact(path, file_hash(path), record)
        for name, expected in recorded_files(record):
            file = path.parent / name
            state = FINE if file.is_file() and file_hash(file) == expected else CHANGED
            state = state if file.is_file() else MISSING
            artefact.files[name] = {"sha256": expected, "state": state}
            if state != FINE:
                artefact.problems.append(f"{file}: {state}")
        return artefact


def check_record(path: Path, record: Mapping[str, Any]) -> None:
    """Raise UserError, which names `path` and the key, unless `record` is a provenance record.

    A record has a stage, its settings, and the path and hash of each input. It may have the hashes of files,
    the number of episodes and their mean.
    """

    def fault(key: str, expected: str) -> UserError:
        return UserError(f"{path}: {key}: not {expected}: run the stage that writes it again")

    if not isinstance(record.get("stage"), str):
        raise fault("stage", "the name of a stage")
    for key, required in (("settings", True), ("inputs", True), ("packages", False)):
        value = record.get(key, None if required else {})
        if not isinstance(value, Mapping) and (required or value is not None):
            raise fault(key, "a mapping")
    for name, entry in record["inputs"].items():
        is_entry = isinstance(entry, Mapping) and isinstance(entry.get("path"), str)
        if not is_entry or not isinstance(entry.get("sha256"), str):
            raise fault(f"inputs.{name}", "a path and a sha256")
        if bad_name(entry["path"].lstrip("/").replace("../", "")) is not None:
            raise fault(f"inputs.{name}.path", "a path")
    check_recorded_files(path, record)
    for key, kind in (("episodes", int), ("mean_solved", (int, float)), ("checkpoint", str)):
        value = record.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise fault(key, "a number" if key != "checkpoint" else "a hash")
    if abs(record.get("mean_solved") or 0) > sys.float_info.max:  # JSON has integers of any length
        raise fault("mean_solved", "a number")


def check_recorded_files(path: Path, record: Mapping[str, Any]) -> None:
    """Raise UserError, which names `path` and the key, unless `recorded_files` gives files and hashes."""
    for key in ("outputs", "files"):
        if not isinstance(record.get(key) or {}, Mapping):
            raise UserError(f"{path}: {key}: not a mapping of files to hashes: run its stage again")
    for name, value in recorded_files(record):
        if not isinstance(value, str) or bad_name(name) is not None:
            raise UserError(f"{path}: {name}: not a file of this folder with its hash: run its stage again")


def recorded_files(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(path inside the artefact's folder, SHA-256) of every file that a provenance record lists."""
    for key in ("outputs", "files"):
        yield from _flattened(record.get(key) or {}, "")


def _flattened(entries: Mapping[str, Any], folder: str) -> Iterator[tuple[str, str]]:
    for name, value in entries.items():
        if isinstance(value, Mapping):  # the hashes of a dataset's split
            yield from _flattened(value, f"{folder}{name}/")
        else:
            yield f"{folder}{name}", value
