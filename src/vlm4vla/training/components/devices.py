"""Batches and random numbers on the device that trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch


def seed_torch(seed: int, device: torch.device) -> None:
    """What torch.manual_seed does, for the devices that are used: it takes a third of a millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def to_device(batch: Any, device: torch.device) -> Any:
    """`batch` with every tensor in (nested) dicts, lists and tuples moved to `device`."""
    if device.type == "cpu":
        return batch
    return mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def pinned(batch: Any, device: torch.device) -> Any:
    """`batch` in memory from which it moves to `device` while that computes."""
    return mapped(batch, torch.Tensor.pin_memory) if device.type == "cuda" else batch


def mapped(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`batch` with `change` made to every tensor in (nested) dicts, lists and tuples."""
    if isinstance(batch, torch.Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: mapped(value, change) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(mapped(value, change) for value in batch)
    return batch


def set_threads() -> None:
    """One thread a process unless OMP_NUM_THREADS says otherwise: many processes beat many threads here."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
