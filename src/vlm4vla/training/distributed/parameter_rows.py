"""The rows of a weight that one process keeps, and their optimisers.

A weight that is cut among processes is cut by rows (its first dimension), as torch's fully_shard does: every
process has ceil(rows / processes) of them, the last ones fewer or none. AdamW, averaging and clipping work on
rows as they do on the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from vlm4vla.config.training import Optimiser
from vlm4vla.training.components.muon import Muon
from vlm4vla.training.components.optimisers import MUON_MOMENTUM, Named

MOMENTS = {torch.optim.AdamW: ("exp_avg", "exp_avg_sq"), Muon: ("momentum_buffer",)}


def share(rows: int, rank: int, world: int) -> tuple[int, int]:
    """First row, and the one after the last, of process `rank`'s share."""
    each = -(-rows // world)
    return min(rows, rank * each), min(rows, (rank + 1) * each)


@dataclass
class Piece:
    """`weight`: the rows from `start` on of the weight `name`, whose whole shape is `shape`; it shares memory
    with the model's own parameter `source`, where gradients appear. A number counts as one row."""

    name: str
    shape: tuple[int, ...]
    start: int
    source: nn.Parameter
    weight: nn.Parameter

    def rows(self, values: torch.Tensor) -> torch.Tensor:
        """`values`, shaped as `weight`, with the weight's own dimensions."""
        return values.detach().view(-1, *self.shape[1:])

    def take_gradient(self) -> None:
        """Let `weight` have the gradient that a backward pass left on `source`, which then has none.

        Raises RuntimeError when there is none: the objective did not reach a weight that it did at first.
        """
        gradient = self.source.grad
        if gradient is None:
            raise RuntimeError(f"{self.name}: no gradient, though the first batch had one")
        self.weight.grad = held(gradient).view(self.weight.shape)
        self.source.grad = None


def held(tensor: torch.Tensor) -> torch.Tensor:
    """What of a tensor lies in this process: a sharded tensor's own rows, else all of it."""
    own = getattr(tensor, "to_local", None)
    return own() if own else tensor


def pieces_of(part: Named, rank: int, world: int, *, matrices: bool = False) -> list[Piece]:
    """The pieces of named parameters that this process holds; those of no rows are left out.

    `matrices`: weights of more than two dimensions are seen as (rows, all else), for Muon.
    """
    pieces = []
    for name, parameter in part:
        shape = tuple(parameter.shape) or (1,)
        values = held(parameter.detach())
        cut = values.shape != parameter.shape or hasattr(parameter, "to_local")
        start = share(shape[0], rank, world)[0] if cut else 0
        values = values.view(-1, *shape[1:])
        if matrices and values.ndim > 2:
            values = values.flatten(1)
        if values.numel():
            pieces.append(Piece(name, shape, start, parameter, nn.Parameter(values)))
    return pieces


def optimisers_of(
    parts: tuple[list[Piece], list[Piece], list[Piece]], settings: Optimiser
) -> list[torch.optim.Optimizer]:
    """Optimisers over pieces of `split_parameters`' parts; each group's `base` is its rate at factor 1."""
    optimisers: list[torch.optim.Optimizer] = []
    if parts[0]:
        optimisers.append(
            Muon(
                [piece.weight for piece in parts[0]],
                lr=settings.muon_learning_rate,
                momentum=MUON_MOMENTUM,
                weight_decay=settings.weight_decay,
            )
        )
    groups = [
        {"params": [piece.weight for piece in part], "weight_decay": decay}
        for part, decay in zip(parts[1:], (settings.weight_decay, 0.0), strict=True)
        if part
    ]
    if groups:
        betas = (float(settings.betas[0]), float(settings.betas[1]))
        optimisers.append(torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["base"] = group["lr"]
    return optimisers


def moments(optimisers: list[torch.optim.Optimizer]) -> Iterator[tuple[nn.Parameter, dict, tuple[str, ...]]]:
    """Of every weight: it, its optimiser's state, and the names of what in there moves."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            for weight in group["params"]:
                yield weight, optimiser.state[weight], MOMENTS[type(optimiser)]


class PieceAverage:
    """The exponential average of `WeightAverage` (averaging.py), over many tensors."""

    def __init__(self, weights: list[nn.Parameter], decay: float):
        self.decay = decay
        self._weights = [weight.detach() for weight in weights]
        self.averages = [weight.clone() for weight in self._weights] if decay else []

    def update(self, updates: int) -> None:
        """Take in the weights after update number `updates` (1-based)."""
        if self.averages:
            kept = min(self.decay, (1 + updates) / (10 + updates))
            torch._foreach_lerp_(self.averages, self._weights, 1 - kept)

    def apply(self) -> None:
        """Write the averages into the weights (which are lost)."""
        if self.averages:
            torch._foreach_copy_(self._weights, self.averages)
