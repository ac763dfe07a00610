"""The rows of a weight that one process holds.

A sharded weight is split among processes by rows (its first dimension), as torch's fully_shard does: each
process has ceil(rows / processes) rows, and the last processes have fewer or none. AdamW, averaging and
clipping work on rows as they do on whole weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from vlm4vla.training.components.flat_parameters import NamedParameters
from vlm4vla.training.components.muon import Muon

MOMENTS = {torch.optim.AdamW: ("exp_avg", "exp_avg_sq"), Muon: ("momentum_buffer",)}


def row_range(rows: int, rank: int, world_size: int) -> tuple[int, int]:
    """Return the first row of process `rank`, and the row after its last one, for a weight of `rows` rows."""
    per_process = -(-rows // world_size)
    return min(rows, rank * per_process), min(rows, (rank + 1) * per_process)


@dataclass
class ParameterRows:
    """The rows, from row `start` on, of the weight `name` with the whole shape `shape`.

    `weight` holds the rows and shares memory with `source`, the model's own parameter, where gradients
    appear. A scalar counts as one row.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    source: nn.Parameter
    weight: nn.Parameter

    def as_rows(self, values: torch.Tensor) -> torch.Tensor:
        """View `values`, which has the shape of `weight`, as (rows, *the weight's other dimensions)."""
        return values.detach().view(-1, *self.shape[1:])

    def take_gradient(self) -> None:
        """Move the gradient of a backward pass from `source` to `weight`.

        Raises RuntimeError if there is no gradient: the objective did not use this weight, although it used
        the weight on the first batch.
        """
        gradient = self.source.grad
        if gradient is None:
            raise RuntimeError(f"{self.name}: no gradient, although the first batch gave one")
        self.weight.grad = local_part(gradient).view(self.weight.shape)
        self.source.grad = None


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a tensor: its rows of a sharded tensor, or the whole of any other."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local else tensor


def local_rows(
    part: NamedParameters, rank: int, world_size: int, *, matrices: bool = False
) -> list[ParameterRows]:
    """Return this process's rows of named parameters; parameters of which it has no rows are left out.

    `matrices`: view weights of more than two dimensions as (rows, everything else), for Muon.
    """
    found = []
    for name, parameter in part:
        shape = tuple(parameter.shape) or (1,)
        values = local_part(parameter.detach())
        sharded = values.shape != parameter.shape or hasattr(parameter, "to_local")
        start = row_range(shape[0], rank, world_size)[0] if sharded else 0
        values = values.view(-1, *shape[1:])
        if matrices and values.ndim > 2:
            values = values.flatten(1)
        if values.numel():
            found.append(ParameterRows(name, shape, start, parameter, nn.Parameter(values)))
    return found


def optimiser_states(
    optimisers: list[torch.optim.Optimizer],
) -> Iterator[tuple[nn.Parameter, dict, tuple[str, ...]]]:
    """Yield each weight, its state in its optimiser, and the names of the moments in that state."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            for weight in group["params"]:
                yield weight, optimiser.state[weight], MOMENTS[type(optimiser)]
