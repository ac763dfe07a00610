"""DeepSpeed's ZeRO stage 2 through accelerate.

Every process holds all weights, but only its share of the gradients and of the optimiser state.

Some points are not obvious:
- DeepSpeed's own checkpoints are pickles. This strategy instead asks DeepSpeed for whole tensors and writes
  the checkpoints of the other strategies (checkpoints.py). So a run can resume under any strategy.
- DeepSpeed 0.19 learns where the moments are when the first parameter group has taken its first step, and
  misses those of the other groups. So this strategy creates the moments and registers them before any step.
- DeepSpeed clips inside its step, so an update's norm is known only after the update. The norm that is
  checked and logged is therefore that of the previous update.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.config.execution import micro_batches
from vlm4vla.config.training import Training
from vlm4vla.core.errors import UserError
from vlm4vla.training.components.optimisers import build_adamw, freeze_unused, split_parameters
from vlm4vla.training.distributed.checkpoints import SavedRows, SavedTensors
from vlm4vla.training.distributed.parameter_rows import row_range
from vlm4vla.training.distributed.processes import ProcessGroup
from vlm4vla.training.distributed.strategies import Probe

MOMENTS = ("exp_avg", "exp_avg_sq")
BUCKET = 200_000_000  # elements sent at once


def zero2_config(training: Training, processes: int) -> dict[str, Any]:
    """Return DeepSpeed's configuration for a training on `processes` processes."""
    execution = training.execution
    size, times = micro_batches(training.batch, processes, execution.micro_batch)
    return {
        "train_batch_size": training.batch,
        "train_micro_batch_size_per_gpu": size,
        "gradient_accumulation_steps": times,
        "gradient_clipping": training.optimiser.clip or 0.0,  # DeepSpeed does not clip at 0
        "bf16": {"enabled": execution.precision == "bf16"},
        "fp16": {"enabled": False},
        "zero_optimization": {
            "stage": 2,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "reduce_scatter": True,
            "reduce_bucket_size": BUCKET,
            "allgather_partitions": True,
            "allgather_bucket_size": BUCKET,
        },
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31 - 1,
        "wall_clock_breakdown": False,
    }


class Zero2:
    """Strategy zero2, with the methods of `Replicated` (training/distributed/strategies.py).

    Raises UserError if the package deepspeed is not installed.
    """

    def __init__(self, objective: nn.Module, training: Training, group: ProcessGroup, probe: Probe):
        if importlib.util.find_spec("deepspeed") is None:
            raise UserError(
                "execution.strategy: zero2 needs the package deepspeed, which is not installed: "
                "`pip install deepspeed`, or write `strategy: fsdp2`"
            )
        from accelerate import Accelerator, DeepSpeedPlugin

        self.objective, self.training, self.group = objective, training, group
        self.bf16 = training.execution.precision == "bf16"
        self._types = {name: p.dtype for name, p in objective.named_parameters()}
        for parameter in objective.parameters():
            parameter.data = parameter.data.to(group.device, torch.float32)
        objective.to(group.device).train()
        with self.autocast():
            loss = probe(objective)
        loss.backward()
        freeze_unused(objective)
        _, decayed, others = split_parameters(objective, training.optimiser.name)
        parts = [[parameter for _, parameter in part] for part in (decayed, others)]
        optimiser = build_adamw(parts, training.optimiser, learning_rate=0.0)  # `step` sets the rate
        config = zero2_config(training, group.world_size)
        self.accumulations = config["gradient_accumulation_steps"]
        accelerator = Accelerator(
            deepspeed_plugin=DeepSpeedPlugin(hf_ds_config=config),
            mixed_precision="bf16" if self.bf16 else "no",
        )
        self.engine, self._optimiser = accelerator.prepare(objective, optimiser)
        self.parameters = [*decayed, *others]
        self._create_moments()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.group.device.type, torch.bfloat16, enabled=self.bf16)

    def accumulate(self, batch: Any, factor: Tensor, last: bool) -> Tensor:
        self.engine.set_gradient_accumulation_boundary(is_boundary=last)
        with self.autocast():
            loss = self.engine(batch)
        # The engine divides by the number of micro-batches.
        self.engine.backward(loss.float() * factor * self.accumulations)
        return loss.detach().float()

    def gradient_norm(self) -> Tensor:
        """Return the norm of the previous update's gradient; 0 before the first update."""
        norm = self.engine.get_global_grad_norm()
        return torch.as_tensor(0.0 if norm is None else norm, dtype=torch.float32)

    def step(self, updates: int, factor: float) -> None:
        for group in self.engine.optimizer.param_groups:
            group["lr"] = self.training.optimiser.learning_rate * factor
        self.engine.step()

    def state(self) -> Iterator[SavedRows]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        for name, parameter in self.parameters:
            shape = tuple(parameter.shape) or (1,)
            start, stop = row_range(shape[0], self.group.rank, self.group.world_size)
            whole = {"weights": safe_get_full_fp32_param(parameter)}
            whole |= {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
            for key, tensor in whole.items():  # all processes assemble a tensor; each keeps its rows
                if stop > start:
                    yield f"{key}/{name}", shape, start, tensor.view(shape)[start:stop].to("cpu", copy=True)

    def restore(self, saved: SavedTensors, updates: int) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for name, parameter in self.parameters:
            rows = parameter.shape[0] if parameter.ndim else 1
            weights = saved.read(f"weights/{name}", 0, rows).to(parameter.device).view(parameter.shape)
            parameter.data.copy_(weights)
            safe_set_full_fp32_param(parameter, weights)
            for key in MOMENTS:
                value = saved.read(f"{key}/{name}", 0, rows).to(parameter.device).view(parameter.shape)
                safe_set_full_optimizer_state(parameter, value, key)
        self._set_step_count(updates)

    def _create_moments(self) -> None:
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        zero = self.engine.optimizer
        states = zero.optimizer.state
        for group, flat in zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True):
            states[flat] = {"step": torch.tensor(0.0)} | {key: torch.zeros_like(flat) for key in MOMENTS}
            lazy_init_hp_params_optimizer_state(group, flat, states)

    def _set_step_count(self, updates: int) -> None:
        """Set the number of steps that AdamW's bias correction assumes."""
        for state in self.engine.optimizer.optimizer.state.values():
            state["step"] = torch.full_like(state["step"], float(updates))

    def finish(self) -> None:
        from deepspeed.utils import safe_get_full_fp32_param

        whole = {name: safe_get_full_fp32_param(parameter) for name, parameter in self.parameters}
        for name, parameter in self.objective.named_parameters():
            values = whole.get(name, parameter.data)
            parameter.grad = None
            parameter.data = values.to("cpu", self._types[name], copy=True)
        self.objective.to("cpu")
        self.objective.eval()
