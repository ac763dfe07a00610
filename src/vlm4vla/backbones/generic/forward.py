"""A model's own forward pass with the action query among its words, up to the state before the output layer.

Not obvious:
- The ids are needed, not only their embeddings: some models (Gemma 4) compute more from them, and all find
  the image's places by them. The query's place therefore has an ordinary id, and a hook replaces what the
  word embedding gives for it.
- Sequences are padded on the right here. A causal model then gives every real token the same positions as in
  an unpadded sequence, whatever makes them, and no token attends to padding.
- The output layer is replaced by one that keeps its input and returns it. The forward pass ends as usual,
  which the hooks of sharded training need.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.core.errors import UserError


@contextmanager
def query_placed(embedding: nn.Module, query: Tensor, at: Tensor, length: int) -> Iterator[list[int]]:
    """Within the context, `embedding` gives `query` (d,) at index `at` (B,) of ids (B, length).

    Yields a list that grows by one with each call that did so.
    """
    calls: list[int] = []

    def place(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if output.shape[:2] != (len(at), length):
            return None
        calls.append(1)
        here = torch.arange(length, device=at.device) == at[:, None]
        return torch.where(here[..., None], query.to(output.dtype), output)

    hook = embedding.register_forward_hook(place)
    try:
        yield calls
    finally:
        hook.remove()


@contextmanager
def states_kept(
    layer: nn.Module, length: int, rows: Tensor | None = None, *, written: int = 0
) -> Iterator[list[Tensor]]:
    """Within the context, the output layer `layer` keeps the states (B, T, d) it gets, and computes nothing.

    `length`: T. `rows`: (B,), the index of the one state of each sequence to keep; then they have the shape
    (B, 1, d). A model that puts the states of an image in front of the ids makes more states: those of the
    last T places are kept, which are the texts' as long as padding is on the right. Raises UserError for
    fewer states, whose places in the sequence are not known. `written`: the model writes into this many
    first columns of what the layer returns, so the states stand behind as many empty ones there.
    """
    kept: list[Tensor] = []

    def keep(states: Tensor, *_: Any, **__: Any) -> Tensor:
        if states.shape[1] < length:
            raise UserError(
                f"the model makes {states.shape[1]} states of {length} ids, and an action query needs one "
                "for each: register a family of your own for it (docs/your-own-study.md)"
            )
        states = states[:, -length:]
        if rows is not None:
            states = states[torch.arange(len(rows), device=rows.device), rows.to(states.device)][:, None]
        if written:
            output = nn.functional.pad(states, (written, 0))
            kept.append(output[..., written:])
            return output
        kept.append(states)
        return states

    layer.forward = keep
    try:
        yield kept
    finally:
        del layer.forward


@contextmanager
def states_replaced(output_layer: nn.Module, states: Tensor) -> Iterator[None]:
    """Within the context, `output_layer` computes logits for `states` (N, d), not for its own input."""

    def replace(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (states[None].to(inputs[0].dtype), *inputs[1:])

    hook = output_layer.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def features_kept(owner: nn.Module) -> Iterator[list[Tensor]]:
    """Within the context, `owner.get_image_features` appends its image tokens to the yielded list."""
    kept: list[Tensor] = []
    plain = owner.get_image_features

    @functools.wraps(plain)
    def keep(*arguments: Any, **options: Any) -> Any:
        output = plain(*arguments, **options)
        kept.append(image_features(output))
        return output

    owner.get_image_features = keep
    try:
        yield kept
    finally:
        del owner.get_image_features


def image_features(output: Any) -> Tensor:
    """The image tokens (..., d) in what transformers' `get_image_features` returns.

    It is a tensor or a list with one tensor for each image, by itself or as the pooled output. Granite gives
    such a list for each of several layers, and Llama 4 the states before the projector.
    """
    if isinstance(output, tuple) and len(output) and not isinstance(output[0], Tensor):
        output = output[0]
    states = getattr(output, "pooler_output", output)
    if states is None:
        by_layer = getattr(output, "deepstack_features", None)
        states = by_layer[0][1] if by_layer else output.last_hidden_state
    return states if isinstance(states, Tensor) else torch.cat(list(states))


def moved(values: Tensor, padding: Tensor, *, left: bool) -> Tensor:
    """Values (B, T, ...) padded on one side, padded on the other; `padding`: (B,) padded tokens of each row.

    `left`: whether the result is padded on the left.
    """
    length = values.shape[1]
    steps = -padding if left else padding
    index = (torch.arange(length, device=values.device) + steps[:, None]) % length
    return torch.gather(values, 1, index.view(*index.shape, *[1] * (values.ndim - 2)).expand_as(values))
