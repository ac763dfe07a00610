"""How a backbone's layers are computed while it trains: which attention, and what is kept for the backward
pass. Nothing of it stays in the weights or in the saved folder."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from vlm4vla.artefacts import UserError
from vlm4vla.execution_settings import Execution

if TYPE_CHECKING:
    from transformers import PreTrainedModel

READS_KEYS = "flow"  # the kind of head that trains on the backbone's kept keys and values


@contextlib.contextmanager
def model_options(objective: nn.Module, execution: Execution) -> Iterator[None]:
    """Within, the backbone of `objective` computes as `execution` says.

    Raises UserError for attention that the family's masks do not allow, and for options that a head's way of
    reading the backbone does not.
    """
    if "transformers" not in sys.modules:  # then nothing of it is in the objective either
        yield
        return
    from transformers import PreTrainedModel

    models = [module for module in objective.modules() if isinstance(module, PreTrainedModel)]
    before = [(model.config, model.config._attn_implementation) for model in models]
    layers: list[nn.Module] = []
    policy = getattr(objective, "policy", None)
    backbone = getattr(objective, "backbone", None) or getattr(policy, "backbone", None)
    kind = policy.settings.kind if policy is not None else None
    if kind == READS_KEYS and execution.attention == "flash_attention_2":
        raise UserError("execution.attention: a flow head reads keys with a mask: write `attention: sdpa`")
    if kind == READS_KEYS and execution.gradient_checkpointing:
        raise UserError(
            "execution.gradient_checkpointing: a flow head trains on keys that would be computed again: "
            "write `gradient_checkpointing: false`"
        )
    try:
        _use_attention(execution.attention, models, backbone)
        if execution.gradient_checkpointing:
            layers = _checkpointed(objective, backbone)
        yield
    finally:
        for config, attention in before:
            config._attn_implementation = attention
        for layer in layers:
            layer.gradient_checkpointing = False


def _use_attention(attention: str, models: list[PreTrainedModel], backbone: Any) -> None:
    """sdpa: what each family chose for itself when it was loaded."""
    if attention == "eager":
        for model in models:
            model.config._attn_implementation = "eager"
    elif attention == "flash_attention_2" and backbone is not None:
        if not backbone.adapter.plainly_causal:
            raise UserError(
                f"execution.attention: flash_attention_2 takes no mask, and {backbone.adapter.family} needs "
                "one: write `attention: sdpa`"
            )
        from vlm4vla.backbones.padding_free import NAME as PADDING_FREE

        backbone.model.config.get_text_config()._attn_implementation = PADDING_FREE


def _checkpointed(objective: nn.Module, backbone: Any) -> list[nn.Module]:
    """Let layers compute their inner values again in the backward pass; returns those layers.

    Set layer by layer: transformers' own switch also makes inputs need gradients, and then a frozen encoder
    would be gone through backwards.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    # The last layer is computed for one position (last_position.py) in the forward pass, and only then.
    last = None if backbone is None else backbone.adapter.last_layer(backbone.model)[0]
    layers = [
        module
        for module in objective.modules()
        if isinstance(module, GradientCheckpointingLayer)
        and all(each is not last for each in module.modules())
    ]
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)
    return layers
