"""An artefact and everything it was made from, compared with the hashes that were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.study.results_folder import Results, read_json

PROVENANCE = "provenance.json"
FINE, CHANGED, MISSING = "as recorded", "changed", "missing"


@dataclass
class Artefact:
    """One provenance.json (or a score with its provenance inside). `files`: state of each file whose hash it
    records; `inputs`: name -> path of the artefact it was made from; `problems`: one line each."""

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
        """As JSON values."""
        keys = ("stage", "settings", "seed", "commit", "python", "packages", "started", "wall_seconds")
        told = {key: self.record.get(key) for key in keys}
        return told | {
            "sha256": self.sha256,
            "files": self.files,
            "inputs": self.inputs,
            "problems": self.problems,
        }


class Chain:
    """Artefacts by the path of their provenance, each looked at once."""

    def __init__(self, results: Results):
        self.results = results
        self.artefacts: dict[str, Artefact] = {}
        self.absent: list[str] = []

    def follow(self, path: Path, expected: str | None = None, whose: str = "") -> Artefact | None:
        """The artefact of a provenance file with all that it was made from; None when the file is not there.

        `expected`: the SHA-256 that `whose` record has of it.
        """
        key = str(path)
        if not path.exists():
            self._absent(f"{path}: missing" + (f", an input of {whose}" if whose else ""))
            return None
        artefact = self.artefacts.get(key)
        if artefact is None:
            artefact = self.artefacts[key] = self._read(path)
            for name, entry in (artefact.record.get("inputs") or {}).items():
                other = self.results.locate(entry["path"])
                artefact.inputs[name] = str(other)
                self.follow(other, entry["sha256"], key)
        if expected is not None and artefact.sha256 != expected:
            self._absent(f"{path}: changed since {whose} was made from it")
        return artefact

    def problems(self) -> list[str]:
        """Everything that is missing or is not as recorded."""
        return [*self.absent, *(line for one in self.artefacts.values() for line in one.problems)]

    def _absent(self, line: str) -> None:
        if line not in self.absent:
            self.absent.append(line)

    def _read(self, path: Path) -> Artefact:
        content = read_json(path, "run the stage that writes it again")
        record = content.get("provenance", content) if isinstance(content, dict) else None
        if not isinstance(record, dict):
            raise UserError(f"{path}: holds no provenance: run the stage that writes it again")
        artefact = Artefact(path, file_hash(path), record)
        for name, expected in recorded_files(record):
            file = path.parent / name
            state = FINE if file.is_file() and file_hash(file) == expected else CHANGED
            state = state if file.is_file() else MISSING
            artefact.files[name] = {"sha256": expected, "state": state}
            if state != FINE:
                artefact.problems.append(f"{file}: {state}")
        return artefact


def recorded_files(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(path within the artefact's folder, SHA-256) of every file whose hash a provenance records."""
    for key in ("outputs", "files"):
        yield from _flat(record.get(key) or {}, "")


def _flat(entries: Mapping[str, Any], folder: str) -> Iterator[tuple[str, str]]:
    for name, value in entries.items():
        if isinstance(value, Mapping):  # hashes of a data set's split
            yield from _flat(value, f"{folder}{name}/")
        else:
            yield f"{folder}{name}", value
