"""One process that computes with a bfloat16 copy of its weights and keeps the weights in float32.

The numbers are those of FSDP2 with one process (fsdp2.py): weights are rounded once per update, and the
gradients of each backward pass are rounded to bfloat16 and summed in float32. FSDP2 itself copies every
weight and every gradient several times to prepare them for other processes, which keeps the CPU busy
(docs/decisions.md).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from vlm4vla.training.distributed.processes import ProcessGroup


def _add_gradient(weight: nn.Parameter, parameter: Tensor) -> None:
    """Move the gradient of `parameter` to `weight`, added to the gradient that `weight` has."""
    if weight.grad is None:
        weight.grad = parameter.grad.float()
    else:
        weight.grad.add_(parameter.grad)
    parameter.grad = None


class Bf16Copies:
    """Replaces the parameters of `module` by bfloat16 copies, in place, and keeps the float32 weights.

    `restore_weights` undoes it.
    """

    def __init__(self, module: nn.Module, group: ProcessGroup):
        self._weights: dict[nn.Parameter, nn.Parameter] = {}  # copy: float32 weight
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        for parameter in module.parameters():
            values = parameter.data.to(group.device, torch.float32)
            self._weights[parameter] = nn.Parameter(values, parameter.requires_grad)
            parameter.data = values.to(torch.bfloat16)
        module.to(group.device)  # moves the buffers

    def float32_weight(self, parameter: nn.Parameter) -> nn.Parameter:
        """Return the float32 weight of a parameter; after `collect_gradients`, gradients appear there."""
        return self._weights[parameter]

    def collect_gradients(self) -> None:
        """From now on, move the gradients of each backward pass to the float32 weights."""
        for parameter, weight in self._weights.items():
            if parameter.requires_grad:
                # The hook must not refer to its own parameter: neither of the two would ever be freed.
                hook = functools.partial(_add_gradient, weight)
                self._hooks.append(parameter.register_post_accumulate_grad_hook(hook))

    def update_copies(self) -> None:
        """Set the trainable copies to the current weights."""
        trained = [(copy.data, weight.data) for copy, weight in self._weights.items() if copy.requires_grad]
        copies, weights = map(list, zip(*trained, strict=True))
        torch._foreach_copy_(copies, weights)

    def restore_weights(self) -> None:
        """Make the float32 weights the module's parameters again, and remove the hooks."""
        for hook in self._hooks:
            hook.remove()
        for parameter, weight in self._weights.items():
            parameter.data = weight.data
