"""Spare the last text layer the positions that nobody reads.

A VLA reads one position of the last layer: the query's. That layer's keys and values come from all
positions, but its attention output and its MLP are needed at the last one only, which is a fifth of a small
language model's work. Both are added to a residual stream (B, T, d); when they are (B, 1, d) the sum is right
at the last position and unused elsewhere, and so are the gradients. Where sequences lie end to end in one row
(padding_free.py), what is computed is put back into a row of zeros at the sequences' ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from vlm4vla.backbones.kernels.padding_free import last_positions


def _keep_last(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0][:, -1:], *inputs[1:])


class _Ends:
    """The hooks of one module in whose row several sequences end."""

    def keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.length, self.ends = inputs[0].shape[1], last_positions()
        return (inputs[0][:, self.ends], *inputs[1:])

    def put_back(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        row = output.new_zeros(1, self.length, output.shape[-1])
        return row.index_copy(1, self.ends, output)


@contextmanager
def last_position_only(modules: Iterable[nn.Module], packed: bool = False) -> Iterator[None]:
    """Within, each module sees the last position of its first argument (B, T, ...) only.

    `packed`: the last one of every sequence in (1, N, ...), and its output is (1, N, ...) again.
    """
    hooks = []
    for module in modules:
        if packed:
            ends = _Ends()
            hooks.append(module.register_forward_pre_hook(ends.keep))
            hooks.append(module.register_forward_hook(ends.put_back))
        else:
            hooks.append(module.register_forward_pre_hook(_keep_last))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
