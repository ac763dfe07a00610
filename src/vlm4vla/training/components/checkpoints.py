"""Checkpoints of the training loop: safetensors and JSON, never pickle.

`step-000500.safetensors` holds weights, optimiser state and the weights' average. `step-000500.json` holds
the step, the identity of the run and the hash of the tensors' file. It is written last: without its JSON
file, a checkpoint does not count.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from vlm4vla.core.artefacts import atomic_path, file_hash, write_json
from vlm4vla.training.components.flat_parameters import FlatParameters
from vlm4vla.training.components.optimisers import WeightAverage


class Checkpoints:
    """The checkpoints in `folder` of the run with this `identity` (a hash of settings and inputs)."""

    def __init__(self, folder: Path, identity: str):
        self.folder = folder
        self.identity = identity

    def latest(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """Return record and tensors of this run's newest intact checkpoint; delete all other checkpoints."""
        found = None
        for path in sorted(self.folder.glob("step-*.json"), reverse=True):
            record = json.loads(path.read_text())
            tensors = path.with_suffix(".safetensors")
            same_run = record["identity"] == self.identity
            if same_run and tensors.exists() and file_hash(tensors) == record["sha256"]:
                found = record, load_file(tensors)
                break
        if found is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self._keep_only(found[0]["step"])
        return found

    def save(self, step: int, tensors: dict[str, torch.Tensor], extra: dict[str, Any]) -> None:
        """Write the checkpoint of `step` (updates done), then delete the older ones."""
        path = self.path(step)
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)
        record = {"step": step, "identity": self.identity, "sha256": file_hash(path)}
        write_json(path.with_suffix(".json"), record | extra)
        self._keep_only(step)

    def last(self) -> Path | None:
        """Return the newest checkpoint's file of tensors."""
        return max(self.folder.glob("step-*.safetensors"), default=None)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.safetensors"

    def _keep_only(self, step: int) -> None:
        for path in self.folder.iterdir():
            if path.stem != self.path(step).stem:
                path.unlink()


def pack(
    flat: FlatParameters, optimisers: list[torch.optim.Optimizer], average: WeightAverage
) -> dict[str, torch.Tensor]:
    """Return everything that training changes: the trainable weights, their average, the optimisers' states.

    Frozen weights are left out, because they come from the run's inputs. `average` averages `flat.weights`.
    """
    tensors = {"weights": flat.weights.detach()}
    if average.averages:
        tensors["average"] = average.averages[0]
    for name, parameter, optimiser in _numbered(optimisers):
        for key, value in optimiser.state[parameter].items():
            tensors[f"{name}/{key}"] = value
    return tensors


def unpack(
    tensors: dict[str, torch.Tensor],
    flat: FlatParameters,
    optimisers: list[torch.optim.Optimizer],
    average: WeightAverage,
) -> None:
    """Restore the state that `pack` returned."""
    device = flat.weights.device
    flat.weights.detach().copy_(tensors["weights"])
    if average.averages:
        average.averages[0].copy_(tensors["average"])
    for name, parameter, optimiser in _numbered(optimisers):
        keys = [key for key in tensors if key.startswith(f"{name}/")]
        optimiser.state[parameter] = {key.removeprefix(f"{name}/"): tensors[key].to(device) for key in keys}


def _numbered(
    optimisers: list[torch.optim.Optimizer],
) -> Iterator[tuple[str, torch.Tensor, torch.optim.Optimizer]]:
    for number, optimiser in enumerate(optimisers):
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        for index, parameter in enumerate(parameters):
            yield f"optimiser/{number}/{index:04d}", parameter, optimiser
