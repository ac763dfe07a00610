"""How a backbone's layers are computed while it trains: which attention, and what is kept for the backward
pass. Nothing of it stays in the weights or in the saved folder."""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError

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
    policy = getattr(objective, "policy", None)
    backbone = getattr(objective, "backbone", None) or getattr(policy, "backbone", None)
    kind = policy.settings.kind if policy is not None else None
    attention = execution.attention
    if attention == "auto":
        packs = backbone is not None and backbone.adapter.plainly_causal and kind != READS_KEYS
        attention = "flash_attention_2" if packs else "sdpa"
    if kind == READS_KEYS and attention == "flash_attention_2":
        raise UserError("execution.attention: a flow head reads keys with a mask: write `attention: sdpa`")
    if kind == READS_KEYS and execution.gradient_checkpointing:
        raise UserError(
            "execution.gradient_checkpointing: a flow head trains on keys that would be computed again: "
            "write `gradient_checkpointing: false`"
        )
    try:
        _use_attention(attention, models, backbone)
        if backbone is not None:
            backbone.adapter.prepare_training(backbone.model)
        for layer in _repeated_layers(objective, backbone):
            _compute(layer, execution)
        yield
    finally:
        for config, own in before:
            config._attn_implementation = own
        for module in objective.modules():
            module.__dict__.pop("forward", None)


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
        from vlm4vla.backbones.kernels.padding_free import NAME as PADDING_FREE

        backbone.model.config.get_text_config()._attn_implementation = PADDING_FREE


def _repeated_layers(objective: nn.Module, backbone: Any) -> list[nn.Module]:
    """The layers of the model's stacks, without the last text layer.

    That one is computed for one position (last_position.py) in the forward pass, and only then.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    last = None if backbone is None else backbone.adapter.last_layer(backbone.model)[0]
    return [
        module
        for module in objective.modules()
        if isinstance(module, GradientCheckpointingLayer)
        and all(each is not last for each in module.modules())
    ]


def _compute(layer: nn.Module, execution: Execution) -> None:
    """Let `layer` be computed as `execution` says: compiled, in one precision, a second time when needed.

    Layer by layer, on the instance: transformers' own switch for checkpointing also makes inputs need
    gradients, and then a frozen encoder would be gone through backwards. Layers of one class share what is
    compiled; the hooks that gather a layer's weights (training/distributed/fsdp2.py) stay outside of it.
    """
    forward = types.MethodType(type(layer).forward.__wrapped__, layer)  # transformers wraps it to checkpoint
    if execution.compile:
        # What is computed again must be what was computed: one graph for all shapes, not one for each.
        forward = torch.compile(forward, dynamic=True if execution.gradient_checkpointing else None)
    if execution.strategy == "fsdp2" and execution.precision == "bf16":
        forward = functools.partial(_in_bfloat16, forward)
    if execution.gradient_checkpointing:
        forward = functools.partial(checkpoint, forward, use_reentrant=False)
    layer.forward = forward


def _in_bfloat16(forward: Callable[..., Any], states: Tensor, *others: Any, **options: Any) -> Any:
    """`forward` with its weights, which are gathered in bfloat16, and no other precision in between.

    Autocast would make norms and so the whole residual stream float32, in families that begin with one.
    """
    mask = options.get("attention_mask")
    if isinstance(mask, Tensor) and mask.is_floating_point():
        # float32's lowest number would become -inf, and a row of padding that sees nothing NaN.
        options["attention_mask"] = mask.clamp(min=torch.finfo(torch.bfloat16).min).to(torch.bfloat16)
    with torch.autocast(states.device.type, enabled=False):
        return forward(states.to(torch.bfloat16), *others, **options)
