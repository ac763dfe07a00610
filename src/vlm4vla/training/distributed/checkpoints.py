"""Checkpoints that several processes write together and any number of processes reads.

Checkpoints are safetensors and JSON, never pickle. `step-000500/` holds one safetensors file per process,
with some rows of every tensor. A JSON file next to it names the rows and the file's hash. `index.json`,
written last, lists the files: without it, a checkpoint does not count. Rows are read from whichever files
hold them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vlm4vla.core.artefacts import atomic_path, file_hash, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.processes import ProcessGroup

FORMAT = 1  # version of index.json
INDEX = "index.json"

SavedRows = tuple[str, tuple[int, ...], int, torch.Tensor]  # key, whole shape, first row, rows


class ShardedCheckpoints:
    """The checkpoints in `folder` of the run with this `identity` (a hash of settings and inputs)."""

    def __init__(self, folder: Path, identity: str, group: ProcessGroup):
        self.folder = folder
        self.identity = identity
        self.group = group

    def latest(self) -> tuple[dict[str, Any], SavedTensors] | None:
        """Return record and tensors of this run's newest intact checkpoint; delete all other checkpoints.

        Every process gets the same checkpoint; each hashes its share of the files. Raises UserError if a
        process does not see the files of another process.
        """
        steps = self.group.broadcast_from_main(self._candidates() if self.group.rank == 0 else [])
        found = None
        for step in steps:
            folder = self.path(step)
            if not (folder / INDEX).is_file():
                raise UserError(
                    f"{folder}: another process wrote this folder, but this process does not see it: keep "
                    "`results` on a file system that all nodes share"
                )
            record = json.loads((folder / INDEX).read_text())
            own_share = sorted(record["files"].items())[self.group.rank :: self.group.world_size]
            if self.group.all(all(_is_intact(folder / name, file["sha256"]) for name, file in own_share)):
                found = record, SavedTensors(folder, record["files"])
                break
        self.group.wait()
        if self.group.rank == 0:
            if found is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                self._keep_only(found[0]["step"])
        return found

    def save(self, step: int, tensors: Iterable[SavedRows], extra: dict[str, Any]) -> None:
        """Write the checkpoint of `step` (updates done), then delete older ones. All processes call it."""
        folder = self.path(step)
        folder.mkdir(parents=True, exist_ok=True)
        contents, ranges, shapes = {}, {}, {}
        for key, shape, start, rows in tensors:
            contents[key] = rows.detach().to("cpu").contiguous()
            ranges[key] = [start, start + len(rows)]
            shapes[key] = list(shape)
        file = folder / f"process-{self.group.rank:05d}-of-{self.group.world_size:05d}.safetensors"
        with atomic_path(file) as temporary:
            save_file(contents, temporary)
        write_json(file.with_suffix(".json"), {"sha256": file_hash(file), "rows": ranges, "shapes": shapes})
        self.group.wait()
        if self.group.rank == 0:
            files = {}
            for number in range(self.group.world_size):
                name = f"process-{number:05d}-of-{self.group.world_size:05d}.safetensors"
                files[name] = json.loads((folder / name).with_suffix(".json").read_text())
            record = {"format": FORMAT, "step": step, "identity": self.identity, "files": files}
            write_json(folder / INDEX, record | extra)
            self._keep_only(step)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def last(self) -> Path | None:
        """Return the newest checkpoint's folder."""
        return max((path.parent for path in self.folder.glob(f"step-*/{INDEX}")), default=None)

    def _candidates(self) -> list[int]:
        """Return the steps of this run's checkpoints of which no file is missing, newest first."""
        steps = []
        for path in sorted(self.folder.glob(f"step-*/{INDEX}"), reverse=True):
            record = json.loads(path.read_text())
            same_run = record["format"] == FORMAT and record["identity"] == self.identity
            if same_run and all((path.parent / name).is_file() for name in record["files"]):
                steps.append(record["step"])
        return steps

    def _keep_only(self, step: int) -> None:
        for path in self.folder.iterdir():
            if path == self.path(step):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class SavedTensors:
    """The tensors of a checkpoint in `folder`. `files`: the entry `files` of its index.json."""

    def __init__(self, folder: Path, files: dict[str, Any]):
        self.folder = folder
        self._ranges: dict[str, list[tuple[int, int, str]]] = {}  # key: (first row, row after the last, file)
        for name, file in files.items():
            for key, (start, stop) in file["rows"].items():
                self._ranges.setdefault(key, []).append((start, stop, name))
        self._open: dict[str, Any] = {}

    def read(self, key: str, start: int, stop: int) -> torch.Tensor:
        """Return rows `start` to `stop` of a tensor, on the CPU. Raises UserError if they were not saved."""
        parts, row = [], start
        for first, last, name in sorted(self._ranges.get(key, [])):
            if first <= row < min(last, stop):
                until = min(last, stop)
                parts.append(self._file(name).get_slice(key)[row - first : until - first])
                row = until
        if row < stop or not parts:
            raise UserError(
                f"{self.folder}: rows {row} to {stop} of {key} are missing: delete this folder, and the "
                "training resumes from an earlier checkpoint"
            )
        return torch.cat(parts)

    def _file(self, name: str) -> Any:
        if name not in self._open:
            self._open[name] = safe_open(self.folder / name, framework="pt")
        return self._open[name]


def _is_intact(file: Path, sha256: str) -> bool:
    return file.is_file() and file_hash(file) == sha256
