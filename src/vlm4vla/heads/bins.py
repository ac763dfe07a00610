"""Actions as bins: OpenVLA's uniform discretisation of [-1, 1] (arXiv 2406.09246, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def to_bins(actions: Tensor, bins: int) -> Tensor:
    """Bin numbers (int64, 0 to bins - 1) of actions in [-1, 1]; what lies outside counts as the edge."""
    return torch.floor((actions + 1) / 2 * bins).clamp(0, bins - 1).long()


def from_bins(numbers: Tensor, bins: int) -> Tensor:
    """The bins' middles: no action in [-1, 1] is further from its own bin's middle than 1 / bins."""
    return (numbers.to(torch.float32) + 0.5) * 2 / bins - 1
