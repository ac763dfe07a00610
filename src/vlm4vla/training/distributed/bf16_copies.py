"""One process that computes with a copy of its weights in bfloat16, and keeps the weights in float32.

The numbers are those of FSDP2 with one process (fsdp2.py): weights rounded once an update,
gradients of each backward pass rounded to bfloat16 and summed in float32. FSDP2 copies every weight and
every gradient several times on its way to other processes, and keeps the CPU busy (docs/decisions.md).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from vlm4vla.training.distributed.processes import Group


def _take(weight: nn.Parameter, parameter: Tensor) -> None:
    """Add the gradient of `parameter`, which then has none, to that of `weight`."""
    if weight.grad is None:
        weight.grad = parameter.grad.float()
    else:
        weight.grad.add_(parameter.grad)
    parameter.grad = None


class Lowered:
    """The parameters of `module` as bfloat16 copies, in place. `whole` undoes it."""

    def __init__(self, module: nn.Module, group: Group):
        self._kept: dict[nn.Parameter, nn.Parameter] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        for parameter in module.parameters():
            values = parameter.data.to(group.device, torch.float32)
            self._kept[parameter] = nn.Parameter(values, parameter.requires_grad)
            parameter.data = values.to(torch.bfloat16)
        module.to(group.device)  # buffers

    def kept(self, parameter: nn.Parameter) -> nn.Parameter:
        """The float32 weight behind a parameter of the module; after `collect`, gradients appear there."""
        return self._kept[parameter]

    def collect(self) -> None:
        """From now on add what a backward pass leaves on a parameter to its float32 weight's gradient."""
        for parameter, weight in self._kept.items():
            if parameter.requires_grad:
                # Of the weight alone: a hook that led back to its parameter would keep both for ever.
                hook = functools.partial(_take, weight)
                self._hooks.append(parameter.register_post_accumulate_grad_hook(hook))

    def refresh(self) -> None:
        """Let the copies be those of the present weights."""
        learnt = [(copy.data, kept.data) for copy, kept in self._kept.items() if copy.requires_grad]
        copies, weights = map(list, zip(*learnt, strict=True))
        torch._foreach_copy_(copies, weights)

    def whole(self) -> None:
        """Undo it: the module's parameters are the float32 weights."""
        for hook in self._hooks:
            hook.remove()
        for parameter, weight in self._kept.items():
            parameter.data = weight.data
