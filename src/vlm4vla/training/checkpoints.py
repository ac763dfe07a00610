"""Checkpoints of the training loop: safetensors and JSON, never pickle.

`step-000500.safetensors` holds weights, optimiser state and average; `step-000500.json`, written after it,
says the step, what run it belongs to and the tensors' hash. Without its JSON a checkpoint does not exist.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vlm4vla.artefacts import atomic_path, file_hash, write_json
from vlm4vla.training.averaging import WeightAverage


class Checkpoints:
    """The checkpoints in `folder` of the run called `identity` (a hash of settings and inputs)."""

    def __init__(self, folder: Path, identity: str):
        self.folder = folder
        self.identity = identity

    def latest(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """Record and tensors of the newest whole checkpoint of this run; all others are deleted."""
        found = None
        for path in sorted(self.folder.glob("step-*.json"), reverse=True):
            record = json.loads(path.read_text())
            tensors = path.with_suffix(".safetensors")
            own = record["identity"] == self.identity
            if own and tensors.exists() and file_hash(tensors) == record["sha256"]:
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

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.safetensors"

    def _keep_only(self, step: int) -> None:
        for path in self.folder.iterdir():
            if path.stem != self.path(step).stem:
                path.unlink()


def pack(
    model: nn.Module, optimisers: list[torch.optim.Optimizer], average: WeightAverage
) -> dict[str, torch.Tensor]:
    """Everything that moves, by name: trainable weights, each optimiser's state of each weight, the average.

    Frozen weights are left out: the run's inputs give them.
    """
    names = _names(model)
    tensors = {f"model/{name}": parameter.detach() for parameter, name in names.items()}
    for optimiser in optimisers:
        for parameter, state in optimiser.state.items():
            for key, value in state.items():
                tensors[f"optimiser/{names[parameter]}/{key}"] = torch.as_tensor(value)
    for name, value in zip(names.values(), average.average, strict=False):
        tensors[f"average/{name}"] = value
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def unpack(
    tensors: dict[str, torch.Tensor],
    model: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    average: WeightAverage,
) -> None:
    """Put packed tensors back in place; the inverse of `pack`."""
    names = _names(model)
    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "optimiser":
            name, _, entry = rest.rpartition("/")
            states.setdefault(name, {})[entry] = tensor
    with torch.no_grad():
        for parameter, name in names.items():
            parameter.copy_(tensors[f"model/{name}"])
        for value, name in zip(average.average, names.values(), strict=False):
            value.copy_(tensors[f"average/{name}"])
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                optimiser.state[parameter] = {
                    entry: value.to(parameter.device)
                    for entry, value in states.get(names[parameter], {}).items()
                }


def _names(model: nn.Module) -> dict[nn.Parameter, str]:
    return {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
