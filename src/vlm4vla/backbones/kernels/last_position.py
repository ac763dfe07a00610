"""Computing the last text layer only at the positions that something reads.

A VLA reads one position of the last layer: the query's. This layer needs keys and values of all positions,
but its attention output and its MLP only at the last position. That saves a fifth of a small language model's
work. Both outputs are added to a residual stream (B, T, d). If they have the shape (B, 1, d), the sum and its
gradients are correct at the last position and not used at the others. If sequences are packed into one row
(padding_free.py), the outputs are inserted into a row of zeros at the end of each sequence.

Training on answers reads the positions whose next token belongs to an answer. Then the outputs are inserted
into zeros at these positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from vlm4vla.backbones.kernels.padding_free import last_positions


def _keep_last(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0][:, -1:], *inputs[1:])


def keeps_last(module: nn.Module) -> bool:
    """Whether the module now reads only the last position of a batch that is not packed."""
    return _keep_last in module._forward_pre_hooks.values()


class _PackedHooks:
    """The hooks of one module whose input row holds several packed sequences."""

    def keep_last(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.length, self.ends = inputs[0].shape[1], last_positions()
        return (inputs[0][:, self.ends], *inputs[1:])

    def insert_in_row(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        row = output.new_zeros(1, self.length, output.shape[-1])
        return row.index_copy(1, self.ends, output)


@contextmanager
def last_position_only(modules: Iterable[nn.Module], packed: bool = False) -> Iterator[None]:
    """Within this context, each module receives only the last position of its first argument (B, T, ...).

    With `packed`, each module receives the last position of every sequence in (1, N, ...), and its output has
    the shape (1, N, ...) again.
    """
    hooks = []
    for module in modules:
        if packed:
            packed_hooks = _PackedHooks()
            hooks.append(module.register_forward_pre_hook(packed_hooks.keep_last))
            hooks.append(module.register_forward_hook(packed_hooks.insert_in_row))
        else:
            hooks.append(module.register_forward_pre_hook(_keep_last))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _SelectedHooks:
    """The hooks of one module that receives only the rows `indices` (N,) of (B * T, ...)."""

    def __init__(self, indices: Tensor):
        self.indices = indices

    def select(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.leading = inputs[0].shape[:2]
        return (inputs[0].flatten(0, 1)[self.indices][None], *inputs[1:])

    def insert(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        rows = output.new_zeros(self.leading.numel(), output.shape[-1])
        return rows.index_copy(0, self.indices, output[0]).unflatten(0, self.leading)


@contextmanager
def positions_only(modules: Sequence[nn.Module], positions: Tensor) -> Iterator[None]:
    """Within this context, each module receives only the `positions` (B, T) bool of its argument (B, T, ...).

    The outputs are zero elsewhere. That of the last module, the final norm, has the shape (1, N, ...): N
    positions are selected.
    """
    indices = positions.flatten().nonzero().squeeze(1)
    hooks = []
    for module in modules:
        own = _SelectedHooks(indices)
        hooks.append(module.register_forward_pre_hook(own.select))
        if module is not modules[-1]:
            hooks.append(module.register_forward_hook(own.insert))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
