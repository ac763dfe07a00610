"""All trainable weights in one buffer, so that clipping, AdamW and averaging are single operations.

A tiny backbone has some hundred small tensors. Tensor by tensor, these three operations took 3.3 ms of a
45 ms step; on one buffer they take 1.2 ms. The model's parameters become views of the buffer.
"""

from __future__ import annotations

import torch
from torch import nn

NamedParameters = list[tuple[str, nn.Parameter]]
ALIGNMENT = 16  # elements: every view starts on a 64-byte line in float32


class FlatParameters:
    """One buffer (N,) for the parameters of several `parts`, one part after another.

    `weights` is the buffer, and `weights.grad` a buffer of the same shape for the gradients. `slices` holds,
    for each part, its stretch of the buffer as one parameter. `views` holds, for each part, its single
    parameters; those of more than two dimensions are viewed as (rows, everything else).

    Raises ValueError if the parameters differ in type or device.
    """

    def __init__(self, parts: list[NamedParameters]):
        parameters = [parameter for part in parts for _, parameter in part]
        kinds = {(parameter.dtype, parameter.device) for parameter in parameters}
        if len(kinds) != 1:
            raise ValueError(
                f"trainable parameters must share one type and device, found {sorted(map(str, kinds))}"
            )
        dtype, device = kinds.pop()
        sizes = [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]
        self.parameters = parameters
        self.weights = nn.Parameter(torch.zeros(sum(sizes), dtype=dtype, device=device), requires_grad=True)
        self.weights.grad = torch.zeros_like(self.weights)
        self.slices: list[nn.Parameter] = []
        self.views: list[list[nn.Parameter]] = []
        self._gradient_views: list[torch.Tensor] = []
        begin = 0
        index = 0
        for part in parts:
            start = begin
            views = []
            for _, parameter in part:
                stretch = slice(begin, begin + parameter.numel())
                view = self.weights.data[stretch].view(parameter.shape)
                view.copy_(parameter.data)
                parameter.data = view
                gradient = self.weights.grad[stretch].view(parameter.shape)
                proxy = nn.Parameter(view.flatten(1) if view.ndim > 2 else view)
                proxy.grad = gradient.view(proxy.shape)
                views.append(proxy)
                self._gradient_views.append(gradient)
                begin += sizes[index]
                index += 1
            whole = nn.Parameter(self.weights.data[start:begin])
            whole.grad = self.weights.grad[start:begin]
            self.slices.append(whole)
            self.views.append(views)

    def optimiser_parts(self) -> tuple[list[nn.Parameter], ...]:
        """Return the parts as `build_optimisers` takes them: Muon's single matrices, AdamW's slices."""
        return (self.views[0], *([whole] if whole.numel() else [] for whole in self.slices[1:]))

    def gather_gradients(self) -> None:
        """Move the gradients of a backward pass from the model's parameters into the buffer."""
        torch._foreach_copy_(self._gradient_views, [parameter.grad for parameter in self.parameters])
        for parameter in self.parameters:
            parameter.grad = None
