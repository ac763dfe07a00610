"""DeepSpeed's ZeRO stage 2 through accelerate: weights whole in every process, the rest shared out.

Not obvious:
- DeepSpeed's own checkpoints are pickles. Ours are made of whole tensors that it puts together on request, so
  they are those of the other strategies (checkpoints.py) and can go on under any of them.
- It learns where moments lie when the first group of parameters has taken its first step, and misses those of
  the other groups (0.19). So the moments are made, and shown to it, before any step.
- It clips inside its step, so the norm that an update is logged with is known after it: the one before is
  checked.
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
from vlm4vla.training.components.optimisers import split_parameters
from vlm4vla.training.distributed.checkpoints import Rows, SavedTensors
from vlm4vla.training.distributed.parameter_rows import share
from vlm4vla.training.distributed.processes import Group
from vlm4vla.training.distributed.strategies import Probe

MOMENTS = ("exp_avg", "exp_avg_sq")
BUCKET = 200_000_000  # elements that are sent at once


def zero2_config(training: Training, processes: int) -> dict[str, Any]:
    """DeepSpeed's configuration of a training on `processes` processes."""
    execution = training.execution
    size, times = micro_batches(training.batch, processes, execution.micro_batch)
    return {
        "train_batch_size": training.batch,
        "train_micro_batch_size_per_gpu": size,
        "gradient_accumulation_steps": times,
        "gradient_clipping": training.optimiser.clip,
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
    """Strategy zero2; the methods are `Replicated`'s (training/distributed/strategies.py)."""

    def __init__(self, objective: nn.Module, training: Training, group: Group, probe: Probe):
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
        with self.lower_precision():
            loss = probe(objective)
        loss.backward()
        for parameter in objective.parameters():
            if parameter.grad is None:
                parameter.requires_grad_(False)
            parameter.grad = None
        _, decayed, others = split_parameters(objective, training.optimiser.name)
        settings = training.optimiser
        rates = [settings.weight_decay] * bool(decayed) + [0.0] * bool(others)
        groups = [
            {"params": [parameter for _, parameter in part], "weight_decay": decay}
            for part, decay in zip([part for part in (decayed, others) if part], rates, strict=True)
        ]
        betas = (float(settings.betas[0]), float(settings.betas[1]))
        optimiser = torch.optim.AdamW(groups, lr=0.0, betas=betas)
        config = zero2_config(training, group.world)
        self.times = config["gradient_accumulation_steps"]
        accelerator = Accelerator(
            deepspeed_plugin=DeepSpeedPlugin(hf_ds_config=config),
            mixed_precision="bf16" if self.bf16 else "no",
        )
        self.engine, self._optimiser = accelerator.prepare(objective, optimiser)
        self.parameters = [*decayed, *others]
        self._make_moments()

    def lower_precision(self) -> torch.autocast:
        return torch.autocast(self.group.device.type, torch.bfloat16, enabled=self.bf16)

    def accumulate(self, batch: Any, factor: Tensor, last: bool) -> Tensor:
        self.engine.set_gradient_accumulation_boundary(is_boundary=last)
        with self.lower_precision():
            loss = self.engine(batch)
        self.engine.backward(loss.float() * factor * self.times)  # it divides by the number of micro-batches
        return loss.detach().float()

    def gradient_norm(self) -> Tensor:
        """Of the update before; 0 before the first."""
        norm = self.engine.get_global_grad_norm()
        return torch.as_tensor(0.0 if norm is None else norm, dtype=torch.float32)

    def step(self, updates: int, factor: float) -> None:
        for group in self.engine.optimizer.param_groups:
            group["lr"] = self.training.optimiser.learning_rate * factor
        self.engine.step()

    def state(self) -> Iterator[Rows]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        for name, parameter in self.parameters:
            shape = tuple(parameter.shape) or (1,)
            start, stop = share(shape[0], self.group.rank, self.group.world)
            whole = {"weights": safe_get_full_fp32_param(parameter)}
            whole |= {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
            for key, tensor in whole.items():  # all take part in putting it together, each keeps its share
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
        self._set_count(updates)

    def _make_moments(self) -> None:
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        zero = self.engine.optimizer
        states = zero.optimizer.state
        for group, flat in zip(zero.bit16_groups, zero.single_partition_of_fp32_groups, strict=True):
            states[flat] = {"step": torch.tensor(0.0)} | {key: torch.zeros_like(flat) for key in MOMENTS}
            lazy_init_hp_params_optimizer_state(group, flat, states)

    def _set_count(self, updates: int) -> None:
        """Tell AdamW how many steps its moments have seen."""
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
