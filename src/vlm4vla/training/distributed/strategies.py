"""Which process holds which weights while a training runs.

A process holds everything (one process, or DDP), or its own rows (FSDP2). DeepSpeed's ZeRO-2 has the same
methods and its own file (zero2.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.config.training import Training
from vlm4vla.training.components.optimisers import (
    WeightAverage,
    build_optimisers,
    freeze_unused,
    set_rate,
    split_parameters,
)
from vlm4vla.training.distributed.bf16_copies import Bf16Copies
from vlm4vla.training.distributed.checkpoints import SavedRows, SavedTensors
from vlm4vla.training.distributed.fsdp2 import ShardedModule
from vlm4vla.training.distributed.parameter_rows import (
    ParameterRows,
    local_rows,
    optimiser_states,
    row_range,
)
from vlm4vla.training.distributed.processes import ProcessGroup

Probe = Callable[[nn.Module], Tensor]  # computes the model's loss on a small batch


class Replicated:
    """Strategies single and ddp: every process holds all weights, in float32.

    The training loop calls, in this order: the constructor; `restore` if there is a checkpoint; for each
    update `accumulate` once per micro-batch, `gradient_norm` and `step`; `state` for a checkpoint; `finish`
    at the end.
    """

    sharded = False  # whether each process holds other rows

    def __init__(self, objective: nn.Module, training: Training, group: ProcessGroup, probe: Probe):
        self.objective = objective
        self.training = training
        self.group = group
        self.bf16 = training.execution.precision == "bf16"
        self._types = {name: p.dtype for name, p in objective.named_parameters()}
        objective.train()
        self.model = self._prepare(probe)
        parts = [
            local_rows(
                [(name, self._float32_weight(parameter)) for name, parameter in part],
                group.rank,
                group.world_size,
                matrices=index == 0,
            )
            for index, part in enumerate(split_parameters(objective, training.optimiser.name))
        ]
        self.parameter_rows: list[ParameterRows] = [rows for part in parts for rows in part]
        self.optimisers = build_optimisers(
            [[rows.weight for rows in part] for part in parts], training.optimiser
        )
        weights = [rows.weight for rows in self.parameter_rows]
        self.average = WeightAverage(weights, training.optimiser.average)

    def _prepare(self, probe: Probe) -> nn.Module:
        """Return the model to call. Its weights that the objective does not use are frozen."""
        from accelerate import Accelerator, DistributedDataParallelKwargs

        for parameter in self.objective.parameters():
            parameter.data = parameter.data.to(self.group.device, torch.float32)
        self.objective.to(self.group.device)
        self._freeze_unused(probe)
        if self.group.world_size == 1:
            return self.objective
        options = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        accelerator = Accelerator(cpu=self.group.device.type == "cpu", kwargs_handlers=[options])
        return accelerator.prepare(self.objective)

    def _float32_weight(self, parameter: nn.Parameter) -> nn.Parameter:
        """Return the weight that is trained for a parameter of the objective, and that gets its gradient."""
        return parameter

    def _freeze_unused(self, probe: Probe) -> None:
        with self.autocast():
            loss = probe(self.objective)
        loss.backward()
        freeze_unused(self.objective)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.group.device.type, torch.bfloat16, enabled=self.bf16)

    def accumulate(self, batch: Any, factor: Tensor, last: bool) -> Tensor:
        """Add the gradients of `factor` times the loss, and return the loss.

        `last`: whether this is the last micro-batch of the update.
        """
        no_sync = getattr(self.model, "no_sync", None)
        with no_sync() if no_sync and not last and not self.sharded else contextlib.nullcontext():
            with self.autocast():
                loss = self.model(batch)
            (loss.float() * factor).backward()
        return loss.detach().float()

    def gradient_norm(self) -> Tensor:
        """Return the norm of the update's gradient, then clip the gradient, if the training clips."""
        for rows in self.parameter_rows:
            rows.take_gradient()
        gradients = [rows.weight.grad for rows in self.parameter_rows]
        square = torch.zeros((), device=self.group.device)
        if gradients:
            square = torch.stack(torch._foreach_norm(gradients)).square().sum()
        if self.sharded:
            self.group.sum(square)
        norm = square.sqrt()
        limit = self.training.optimiser.clip
        if gradients and limit is not None:
            torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def step(self, updates: int, factor: float) -> None:
        """Make update number `updates` (1-based), at `factor` times the configured rates."""
        set_rate(self.optimisers, factor)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.average.update(updates)

    def state(self) -> Iterator[SavedRows]:
        """Yield what training changes, for a checkpoint.

        Of weights that all processes hold, each process yields its own range of rows.
        """
        for parameter, tensors in self._trained_tensors():
            for key, tensor in tensors.items():
                rows, start = parameter.as_rows(tensor), parameter.start
                if not self.sharded:
                    start, stop = row_range(len(rows), self.group.rank, self.group.world_size)
                    rows = rows[start:stop]
                if len(rows):
                    yield f"{key}/{parameter.name}", parameter.shape, start, rows

    def restore(self, saved: SavedTensors, updates: int) -> None:
        """Restore what `state` yielded after `updates` updates, on any number of processes."""
        for weight, state, names in optimiser_states(self.optimisers):
            state |= {name: torch.zeros_like(weight, requires_grad=False) for name in names}
            if "exp_avg" in names:
                state["step"] = torch.tensor(float(updates), device=weight.device)
        for parameter, tensors in self._trained_tensors():
            for key, tensor in tensors.items():
                rows = parameter.as_rows(tensor)
                stop = parameter.start + len(rows)
                rows.copy_(saved.read(f"{key}/{parameter.name}", parameter.start, stop))

    def _trained_tensors(self) -> Iterator[tuple[ParameterRows, dict[str, Tensor]]]:
        """Yield, for each weight, its rows and by name: the weight, its average and its moments."""
        states = {id(weight): (state, names) for weight, state, names in optimiser_states(self.optimisers)}
        averages = self.average.averages or [None] * len(self.parameter_rows)
        for rows, average in zip(self.parameter_rows, averages, strict=True):
            state, names = states[id(rows.weight)]
            tensors = {"weights": rows.weight} | {name: state[name] for name in names}
            yield rows, tensors | ({"average": average} if average is not None else {})

    def finish(self) -> None:
        """Put the averaged weights into the objective, on the CPU and in their original types."""
        self.average.apply()
        self._restore_objective()
        for name, parameter in self.objective.named_parameters():
            parameter.grad = None
            parameter.data = parameter.data.to("cpu", self._types[name])
        self.objective.to("cpu")  # moves the buffers
        self.objective.eval()

    def _restore_objective(self) -> None:
        """Make the trained weights the objective's parameters again; here, they always are."""


class FullySharded(Replicated):
    """Strategy fsdp2: each process holds its rows of every weight, gradient and moment."""

    sharded = True

    def _prepare(self, probe: Probe) -> nn.Module:
        self._sharded_module = ShardedModule(self.objective, self.group, bf16=self.bf16)
        self._freeze_unused(probe)
        return self.objective

    def _restore_objective(self) -> None:
        self._sharded_module.unshard()


class SingleProcess(Replicated):
    """Strategy fsdp2 in bf16 with one process: `FullySharded`'s numbers without its overhead."""

    def _prepare(self, probe: Probe) -> nn.Module:
        self._copies = Bf16Copies(self.objective, self.group)
        self._freeze_unused(probe)
        self._copies.collect_gradients()
        return self.objective

    def _float32_weight(self, parameter: nn.Parameter) -> nn.Parameter:
        return self._copies.float32_weight(parameter)

    def step(self, updates: int, factor: float) -> None:
        super().step(updates, factor)
        self._copies.update_copies()

    def restore(self, saved: SavedTensors, updates: int) -> None:
        super().restore(saved, updates)
        self._copies.update_copies()

    def _restore_objective(self) -> None:
        self._copies.restore_weights()
