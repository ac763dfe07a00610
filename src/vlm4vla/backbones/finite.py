"""Weights with NaN or infinity, which would only show as policies that never succeed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open

from vlm4vla.backbones.weights import weight_files
from vlm4vla.core.errors import UserError, one_line

# What to do if a training ends with such weights.
DIVERGED = "the training diverged, so nothing was saved: lower optimiser.learning_rate, and train again"


def check_finite(tensors: Mapping[str, torch.Tensor], where: str, remedy: str) -> None:
    """Raise UserError, which begins with `where`, for the first tensor that has NaN or infinity."""
    name = _first_without_numbers(tensors)
    if name is not None:
        raise UserError(f"{where}: the tensor {one_line(name)} has NaN or infinity: {remedy}")


def check_finite_folder(tensors: Mapping[str, torch.Tensor], folder: Path, remedy: str) -> None:
    """Do what `check_finite` does for a model in memory, which was loaded from `folder`.

    The error names the file, and the tensor by its name in the file. The files are read again only for this
    error, one tensor at a time.
    """
    if _first_without_numbers(tensors) is None:
        return
    check_finite_files(folder, remedy)
    check_finite(tensors, str(folder), remedy)  # finite in the file, but not in the type of the memory


def check_finite_files(folder: Path, remedy: str) -> None:
    """Do what `check_finite` does for the weights in a Hugging Face folder, one tensor at a time."""
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118, it is no mapping
                check_finite({name: stored.get_tensor(name)}, str(file), remedy)


def _first_without_numbers(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor that has NaN or infinity, or None."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = torch.aminmax(tensor.detach())  # NaN if one number is
        if not torch.isfinite(low) or not torch.isfinite(high):
            return name
    return None
