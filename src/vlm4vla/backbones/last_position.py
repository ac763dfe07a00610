"""Spare the last text layer the positions that nobody reads.

A VLA reads one position of the last layer: the query's. That layer's keys and values come from all
positions, but its attention output and its MLP are needed at the last one only, which is a fifth of a small
language model's work. Both are added to a residual stream (B, T, d); when they are (B, 1, d) the sum is right
at the last position and unused elsewhere, and so are the gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


def _keep_last(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0][:, -1:], *inputs[1:])


@contextmanager
def last_position_only(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within, each module sees the last position of its first argument (B, T, ...) only."""
    hooks = [module.register_forward_pre_hook(_keep_last) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
