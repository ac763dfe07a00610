"""FSDP2: weights, gradients and optimiser state are sharded by rows, and whole again at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed._composable.contract import REGISTRY_KEY, STATE_KEY
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.processes import ProcessGroup

# The attributes that fully_shard changes or adds on a module, besides its class.
HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
)
MARKS = ("_is_fsdp_managed_module", "_fsdp_use_orig_params", STATE_KEY, REGISTRY_KEY)


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the layers of the model's stacks, in order.

    These are the members of its outermost module lists that hold weights. FSDP2 gathers and frees them one by
    one; the rest of the model stays together.
    """
    found: list[nn.Module] = []
    inside: set[int] = set()
    for module in model.modules():  # a list comes before the lists inside it
        if isinstance(module, nn.ModuleList) and len(module) > 1 and id(module) not in inside:
            for block in module:
                inside.update(map(id, block.modules()))
                if any(True for _ in block.parameters()):
                    found.append(block)
    return found


class ShardedModule:
    """Shards a module among the processes of a group, in place. `unshard` undoes it.

    `bf16`: compute in bfloat16; the rows and the sums of gradients stay in float32. Raises UserError if a
    weight is a scalar, because a scalar has no rows.
    """

    def __init__(self, module: nn.Module, group: ProcessGroup, *, bf16: bool):
        for name, parameter in module.named_parameters():
            if parameter.ndim == 0:
                raise UserError(
                    f"execution.strategy: fsdp2 cannot shard {name}, a single number: write `strategy: ddp`"
                )
        self.module = module
        self.group = group
        self._before = [(submodule, type(submodule), _hooks(submodule)) for submodule in module.modules()]
        mesh = init_device_mesh(group.device.type, (group.world_size,))
        # Autocast converts the inputs where needed, and targets keep their precision.
        policy = MixedPrecisionPolicy(
            torch.bfloat16 if bf16 else None, torch.float32 if bf16 else None, cast_forward_inputs=False
        )
        for block in [*repeated_blocks(module), module]:
            for parameter in block.parameters():
                if not hasattr(parameter, "to_local"):  # one block at a time: the whole model may not fit
                    parameter.data = parameter.data.to(group.device, torch.float32)
            reshard = False if group.world_size == 1 else None
            fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)

    def unshard(self) -> None:
        """Undo the sharding: in the main process, the module has all its weights again, in CPU memory.

        In the other processes the module is no longer usable: its parameters are this process's rows.
        """
        main = self.group.rank == 0
        plain: dict[int, nn.Parameter] = {}
        entries = [
            (submodule, name, parameter)
            for submodule in self.module.modules()
            for name, parameter in submodule._parameters.items()
            if parameter is not None
        ]
        for _, _, parameter in entries:
            if id(parameter) not in plain:
                full = parameter.detach().full_tensor()  # all processes send, only the main process keeps
                values = full.to("cpu", copy=True) if main else parameter.detach().to_local()
                plain[id(parameter)] = nn.Parameter(values, parameter.requires_grad)
        for submodule, kind, hooks in self._before:
            submodule.__class__ = kind
            for name, value in hooks.items():
                setattr(submodule, name, value)
            for mark in MARKS:
                submodule.__dict__.pop(mark, None)
        for submodule, name, parameter in entries:
            submodule._parameters[name] = plain[id(parameter)]


def _hooks(module: nn.Module) -> dict[str, Any]:
    return {name: type(value)(value) for name in HOOKS if (value := getattr(module, name, None)) is not None}
