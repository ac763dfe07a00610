"""Checkpoints that several processes write together and any number reads: safetensors and JSON, no pickle.

`step-000500/` holds one safetensors file a process, each with some rows of every tensor, and a JSON file
beside it that says which rows and the file's hash. `index.json`, written last, lists the files. Without it a
checkpoint does not exist. Reading asks for rows, from whichever files have them.
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
from vlm4vla.training.distributed.processes import Group

FORMAT = 1  # of index.json
INDEX = "index.json"

Rows = tuple[str, tuple[int, ...], int, torch.Tensor]  # key, whole shape, first row, rows


class ShardedCheckpoints:
    """The checkpoints in `folder` of the run called `identity` (a hash of settings and inputs)."""

    def __init__(self, folder: Path, identity: str, group: Group):
        self.folder = folder
        self.identity = identity
        self.group = group

    def latest(self) -> tuple[dict[str, Any], SavedTensors] | None:
        """Record and tensors of the newest whole checkpoint of this run; all others are deleted.

        Every process gets the same one. The files are hashed by all of them, each its share. Raises UserError
        when a process does not see what another one wrote.
        """
        steps = self.group.of_main(self._candidates() if self.group.rank == 0 else [])
        found = None
        for step in steps:
            folder = self.path(step)
            if not (folder / INDEX).is_file():
                raise UserError(
                    f"{folder}: written by another process and not to be seen by this one: keep `results` "
                    "on a file system that all nodes share"
                )
            record = json.loads((folder / INDEX).read_text())
            mine = sorted(record["files"].items())[self.group.rank :: self.group.world]
            if self.group.all(all(_whole(folder / name, saved["sha256"]) for name, saved in mine)):
                found = record, SavedTensors(folder, record["files"])
                break
        self.group.wait()
        if self.group.rank == 0:
            if found is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                self._keep_only(found[0]["step"])
        return found

    def save(self, step: int, tensors: Iterable[Rows], extra: dict[str, Any]) -> None:
        """Write the checkpoint of `step` (updates done), then delete older ones; all processes call it."""
        folder = self.path(step)
        folder.mkdir(parents=True, exist_ok=True)
        held, pieces, shapes = {}, {}, {}
        for key, shape, start, values in tensors:
            held[key] = values.detach().to("cpu").contiguous()
            pieces[key] = [start, start + len(values)]
            shapes[key] = list(shape)
        file = folder / f"process-{self.group.rank:05d}-of-{self.group.world:05d}.safetensors"
        with atomic_path(file) as temporary:
            save_file(held, temporary)
        write_json(file.with_suffix(".json"), {"sha256": file_hash(file), "rows": pieces, "shapes": shapes})
        self.group.wait()
        if self.group.rank == 0:
            files = {}
            for number in range(self.group.world):
                name = f"process-{number:05d}-of-{self.group.world:05d}.safetensors"
                files[name] = json.loads((folder / name).with_suffix(".json").read_text())
            record = {"format": FORMAT, "step": step, "identity": self.identity, "files": files}
            write_json(folder / INDEX, record | extra)
            self._keep_only(step)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def last(self) -> Path | None:
        """The newest checkpoint's folder."""
        return max((path.parent for path in self.folder.glob(f"step-*/{INDEX}")), default=None)

    def _candidates(self) -> list[int]:
        """Steps of this run's checkpoints whose files are all there, the newest first."""
        steps = []
        for path in sorted(self.folder.glob(f"step-*/{INDEX}"), reverse=True):
            record = json.loads(path.read_text())
            own = record["format"] == FORMAT and record["identity"] == self.identity
            if own and all((path.parent / name).is_file() for name in record["files"]):
                steps.append(record["step"])
        return steps

    def _keep_only(self, step: int) -> None:
        for path in self.folder.iterdir():
            if path == self.path(step):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class SavedTensors:
    """The tensors of a checkpoint's `folder`; `files`: what index.json says of each file."""

    def __init__(self, folder: Path, files: dict[str, Any]):
        self.folder = folder
        self._where: dict[str, list[tuple[int, int, str]]] = {}
        for name, saved in files.items():
            for key, (start, stop) in saved["rows"].items():
                self._where.setdefault(key, []).append((start, stop, name))
        self._open: dict[str, Any] = {}

    def read(self, key: str, start: int, stop: int) -> torch.Tensor:
        """Rows `start` to `stop` of a tensor, on the CPU. Raises UserError when they were not saved."""
        parts, place = [], start
        for first, last, name in sorted(self._where.get(key, [])):
            if first <= place < min(last, stop):
                until = min(last, stop)
                parts.append(self._file(name).get_slice(key)[place - first : until - first])
                place = until
        if place < stop or not parts:
            raise UserError(
                f"{self.folder}: holds no rows {place} to {stop} of {key}: delete the folder, and the "
                "training starts from an earlier checkpoint"
            )
        return torch.cat(parts)

    def _file(self, name: str) -> Any:
        if name not in self._open:
            self._open[name] = safe_open(self.folder / name, framework="pt")
        return self._open[name]


def _whole(file: Path, sha256: str) -> bool:
    return file.is_file() and file_hash(file) == sha256
