"""How a backbone's layers are computed in training: the kind of attention, recomputation, compilation.

The weights and the saved folder do not depend on these options.
"""

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

READS_KEYS = "flow"  # the kind of head that trains on the backbone's cached keys and values


@contextlib.contextmanager
def model_options(objective: nn.Module, execution: Execution) -> Iterator[None]:
    """Within the context, the backbone of `objective` computes with the options of `execution`.

    Raises UserError for attention that does not work with the family's masks, and for options that do not
    work with the way the head reads the backbone.
    """
    if "transformers" not in sys.modules:  # then the objective holds no transformers model
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
            "execution.gradient_checkpointing: a flow head trains on keys that would be recomputed: write "
            "`gradient_checkpointing: false`"
        )
    try:
        _use_attention(attention, models, backbone)
        if backbone is not None:
            backbone.adapter.prepare_training(backbone.model)
        for layer in _repeated_layers(objective, backbone):
            _replace_forward(layer, execution)
        yield
    finally:
        for config, own in before:
            config._attn_implementation = own
        for module in objective.modules():
            module.__dict__.pop("forward", None)


def _use_attention(attention: str, models: list[PreTrainedModel], backbone: Any) -> None:
    """Set the models' attention; sdpa leaves what each family chose when it was loaded."""
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
    """Return the layers of the model's stacks except the last text layer.

    The hooks that restrict the last text layer to one position (backbones/kernels/last_position.py) exist
    only during the forward pass, so this layer must not be recomputed.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    last = None if backbone is None else next(iter(backbone.adapter.last_layer(backbone.model)), None)
    return [
        module
        for module in objective.modules()
        if isinstance(module, GradientCheckpointingLayer)
        and all(submodule is not last for submodule in module.modules())
    ]


def _replace_forward(layer: nn.Module, execution: Execution) -> None:
    """Let `layer` compute as `execution` says: compiled, in bfloat16, recomputed in the backward pass.

    This replaces `forward` of each layer's instance. The gradient checkpointing of transformers also makes
    the inputs require gradients; the backward pass would then go through a frozen encoder. Layers of one
    class share their compiled code. The hooks that gather a layer's weights (training/distributed/fsdp2.py)
    stay outside the compiled code.
    """
    forward = types.MethodType(type(layer).forward.__wrapped__, layer)  # without transformers' checkpointing
    if execution.compile:
        # Recomputation must repeat the same graph, so there is one graph for all shapes, not one per shape.
        forward = torch.compile(forward, dynamic=True if execution.gradient_checkpointing else None)
    if execution.strategy == "fsdp2" and execution.precision == "bf16":
        forward = functools.partial(_in_bfloat16, forward)
    if execution.gradient_checkpointing:
        forward = functools.partial(checkpoint, forward, use_reentrant=False)
    layer.forward = forward


def _in_bfloat16(forward: Callable[..., Any], states: Tensor, *others: Any, **options: Any) -> Any:
    """Call `forward` without autocast; its weights are gathered in bfloat16, and everything stays bfloat16.

    In families that begin with a norm, autocast would make the norms float32, and with them the whole
    residual stream.
    """
    mask = options.get("attention_mask")
    if isinstance(mask, Tensor) and mask.is_floating_point():
        # The lowest float32 would become -inf, and a padding row that attends to nothing would become NaN.
        options["attention_mask"] = mask.clamp(min=torch.finfo(torch.bfloat16).min).to(torch.bfloat16)
    with torch.autocast(states.device.type, enabled=False):
        return forward(states.to(torch.bfloat16), *others, **options)
