"""Who holds which weights while a training runs: one process, all (DDP), or each its rows (FSDP2).

DeepSpeed's ZeRO-2 has the same methods and a file of its own (training/distributed/zero2.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.config.training import Training
from vlm4vla.training.components.optimisers import set_rate, split_parameters
from vlm4vla.training.distributed.bf16_copies import Lowered
from vlm4vla.training.distributed.checkpoints import Rows, SavedTensors
from vlm4vla.training.distributed.fsdp2 import Sharded
from vlm4vla.training.distributed.parameter_rows import (
    Piece,
    PieceAverage,
    moments,
    optimisers_of,
    pieces_of,
    share,
)
from vlm4vla.training.distributed.processes import Group

Probe = Callable[[nn.Module], Tensor]  # the model's loss on a small batch


class Replicated:
    """Strategies single and ddp: every process holds all weights, in float32.

    In the order of a training: made; `restore` if there is a checkpoint; then for each update `accumulate`
    for each micro-batch, `gradient_norm`, `step`; `state` for a checkpoint; at the end `finish`.
    """

    cut = False  # whether processes hold different rows

    def __init__(self, objective: nn.Module, training: Training, group: Group, probe: Probe):
        self.objective = objective
        self.training = training
        self.group = group
        self.bf16 = training.execution.precision == "bf16"
        self._types = {name: p.dtype for name, p in objective.named_parameters()}
        objective.train()
        self.model = self._prepared(probe)
        parts = [
            [(name, self._kept(parameter)) for name, parameter in part]
            for part in split_parameters(objective, training.optimiser.name)
        ]
        mine = (group.rank, group.world)
        split = tuple(pieces_of(part, *mine, matrices=n == 0) for n, part in enumerate(parts))
        self.pieces: list[Piece] = [piece for part in split for piece in part]
        self.optimisers = optimisers_of(split, training.optimiser)
        weights = [piece.weight for piece in self.pieces]
        self.average = PieceAverage(weights, training.optimiser.average)

    def _prepared(self, probe: Probe) -> nn.Module:
        """The model that is called; its weights that the objective does not reach are frozen."""
        from accelerate import Accelerator, DistributedDataParallelKwargs

        for parameter in self.objective.parameters():
            parameter.data = parameter.data.to(self.group.device, torch.float32)
        self.objective.to(self.group.device)
        self._freeze_unreached(self.objective, probe)
        if self.group.world == 1:
            return self.objective
        options = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        accelerator = Accelerator(cpu=self.group.device.type == "cpu", kwargs_handlers=[options])
        return accelerator.prepare(self.objective)

    def _kept(self, parameter: nn.Parameter) -> nn.Parameter:
        """Where the weight of a parameter of the objective lies, and its gradient appears."""
        return parameter

    def _freeze_unreached(self, model: nn.Module, probe: Probe) -> None:
        """What no backward pass reaches (a VLA's output layer) neither decays nor is waited for."""
        with self.lower_precision():
            loss = probe(model)
        loss.backward()
        for parameter in self.objective.parameters():
            if parameter.grad is None:
                parameter.requires_grad_(False)
            parameter.grad = None

    def lower_precision(self) -> torch.autocast:
        return torch.autocast(self.group.device.type, torch.bfloat16, enabled=self.bf16)

    def accumulate(self, batch: Any, factor: Tensor, last: bool) -> Tensor:
        """Add the gradients of `factor` times the loss; returns the loss. `last`: of this update."""
        quiet = getattr(self.model, "no_sync", None)
        with quiet() if quiet and not last and not self.cut else contextlib.nullcontext():
            with self.lower_precision():
                loss = self.model(batch)
            (loss.float() * factor).backward()
        return loss.detach().float()

    def gradient_norm(self) -> Tensor:
        """The norm of the update's gradient, which is then clipped."""
        for piece in self.pieces:
            piece.take_gradient()
        gradients = [piece.weight.grad for piece in self.pieces]
        square = torch.zeros((), device=self.group.device)
        if gradients:
            square = torch.stack(torch._foreach_norm(gradients)).square().sum()
        if self.cut:
            self.group.sum(square)
        norm = square.sqrt()
        if gradients:
            torch._foreach_mul_(gradients, (self.training.optimiser.clip / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def step(self, updates: int, factor: float) -> None:
        """Update number `updates` (1-based), at `factor` times the configured rates."""
        set_rate(self.optimisers, factor)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.average.update(updates)

    def state(self) -> Iterator[Rows]:
        """What moves, for a checkpoint: of weights that all processes hold, each gives its share of rows."""
        for piece, values in self._moving():
            for key, tensor in values.items():
                rows, start = piece.rows(tensor), piece.start
                if not self.cut:
                    start, stop = share(len(rows), self.group.rank, self.group.world)
                    rows = rows[start:stop]
                if len(rows):
                    yield f"{key}/{piece.name}", piece.shape, start, rows

    def restore(self, saved: SavedTensors, updates: int) -> None:
        """Go on after `updates` updates; the inverse of `state`, on any number of processes."""
        for weight, state, names in moments(self.optimisers):
            state |= {name: torch.zeros_like(weight, requires_grad=False) for name in names}
            if "exp_avg" in names:
                state["step"] = torch.tensor(float(updates), device=weight.device)
        for piece, values in self._moving():
            for key, tensor in values.items():
                rows = piece.rows(tensor)
                stop = piece.start + len(rows)
                rows.copy_(saved.read(f"{key}/{piece.name}", piece.start, stop))

    def _moving(self) -> Iterator[tuple[Piece, dict[str, Tensor]]]:
        """Of each piece: its weights, their average and the optimiser's moments, by name."""
        states = {id(weight): (state, names) for weight, state, names in moments(self.optimisers)}
        averages = self.average.averages or [None] * len(self.pieces)
        for piece, average in zip(self.pieces, averages, strict=True):
            state, names = states[id(piece.weight)]
            values = {"weights": piece.weight} | {name: state[name] for name in names}
            yield piece, values | ({"average": average} if average is not None else {})

    def finish(self) -> None:
        """Put the averaged weights into the objective, on the CPU and each in the type that it came in."""
        self.average.apply()
        self._gather()
        for name, parameter in self.objective.named_parameters():
            parameter.grad = None
            parameter.data = parameter.data.to("cpu", self._types[name])
        self.objective.to("cpu")  # buffers follow
        self.objective.eval()

    def _gather(self) -> None:
        pass  # every process holds everything


class FullySharded(Replicated):
    """Strategy fsdp2: each process holds its rows of every weight, gradient and moment."""

    cut = True

    def _prepared(self, probe: Probe) -> nn.Module:
        self._sharded = Sharded(self.objective, self.group, bf16=self.bf16)
        self._freeze_unreached(self.objective, probe)
        return self.objective

    def _gather(self) -> None:
        self._sharded.whole()


class Alone(Replicated):
    """Strategy fsdp2 in bf16 with one process: `FullySharded`'s numbers without what it does for more."""

    def _prepared(self, probe: Probe) -> nn.Module:
        self._lowered = Lowered(self.objective, self.group)
        self._freeze_unreached(self.objective, probe)
        self._lowered.collect()
        return self.objective

    def _kept(self, parameter: nn.Parameter) -> nn.Parameter:
        return self._lowered.kept(parameter)

    def step(self, updates: int, factor: float) -> None:
        super().step(updates, factor)
        self._lowered.refresh()

    def restore(self, saved: SavedTensors, updates: int) -> None:
        super().restore(saved, updates)
        self._lowered.refresh()

    def _gather(self) -> None:
        self._lowered.whole()
