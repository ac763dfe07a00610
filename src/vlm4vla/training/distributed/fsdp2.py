"""FSDP2: weights, gradients and optimiser state cut by rows among processes, and whole again at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed._composable.contract import REGISTRY_KEY, STATE_KEY
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.processes import Group

# What fully_shard hangs on a module beside its class.
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
    """Layers of the model's stacks, in order: the members of its outermost module lists that hold weights.

    They are gathered and freed one by one; the rest of the model stays together.
    """
    found: list[nn.Module] = []
    inside: set[int] = set()
    for module in model.modules():  # an outer list comes before what it holds
        if isinstance(module, nn.ModuleList) and len(module) > 1 and id(module) not in inside:
            for block in module:
                inside.update(map(id, block.modules()))
                if any(True for _ in block.parameters()):
                    found.append(block)
    return found


class Sharded:
    """A module cut among the processes of a group, in place. `whole` undoes it.

    `bf16`: computed in bfloat16; the rows themselves, and the sums of gradients, stay in float32. Raises
    UserError for a weight that is a single number, which has no rows.
    """

    def __init__(self, module: nn.Module, group: Group, *, bf16: bool):
        for name, parameter in module.named_parameters():
            if parameter.ndim == 0:
                raise UserError(
                    f"execution.strategy: fsdp2 cannot cut {name}, a single number: write `strategy: ddp`"
                )
        self.module = module
        self.group = group
        self._before = [(each, type(each), _hooks(each)) for each in module.modules()]
        mesh = init_device_mesh(group.device.type, (group.world,))
        lower = torch.bfloat16 if bf16 else None
        # Inputs are left as they are: autocast meets them, and targets keep their precision.
        policy = MixedPrecisionPolicy(lower, torch.float32 if bf16 else None, cast_forward_inputs=False)
        for block in [*repeated_blocks(module), module]:
            for parameter in block.parameters():
                if not hasattr(parameter, "to_local"):  # one block at a time: the whole may not fit
                    parameter.data = parameter.data.to(group.device, torch.float32)
            fully_shard(
                block, mesh=mesh, mp_policy=policy, reshard_after_forward=False if group.world == 1 else None
            )

    def whole(self) -> None:
        """Undo it: in the main process the module has all its weights again, in memory of the CPU.

        In the others it is of no more use: it holds rows as plain parameters.
        """
        main = self.group.rank == 0
        made: dict[int, nn.Parameter] = {}
        places = [
            (each, name, parameter)
            for each in self.module.modules()
            for name, parameter in each._parameters.items()
            if parameter is not None
        ]
        for _, _, parameter in places:
            if id(parameter) not in made:
                full = parameter.detach().full_tensor()  # sent by all, kept by one
                values = full.to("cpu", copy=True) if main else parameter.detach().to_local()
                made[id(parameter)] = nn.Parameter(values, parameter.requires_grad)
        for each, kind, hooks in self._before:
            each.__class__ = kind
            for name, value in hooks.items():
                setattr(each, name, value)
            for mark in MARKS:
                each.__dict__.pop(mark, None)
        for each, name, parameter in places:
            each._parameters[name] = made[id(parameter)]


def _hooks(module: nn.Module) -> dict[str, Any]:
    return {name: type(value)(value) for name in HOOKS if (value := getattr(module, name, None)) is not None}
