"""Small models on a CPU: attention with its queries, keys and values as one function.

Only models of at most `WIDEST` are changed. Only float32 and float64 on a CPU, and sequences of at most
`LONGEST` tokens, are computed here; everything else is computed as transformers does it. A module gets a
subclass of its own class, with the same parameters. So the weights, the saved folder and other models in the
process do not change.

Attention is computed here only while the config has the attention that the family's adapter chose. In the
last text layer, only the query of the last position is computed if nothing else is read (last_position.py).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedConfig, PreTrainedModel

from vlm4vla.backbones.kernels.last_position import keeps_last
from vlm4vla.backbones.kernels.packed_attention import NAME as PACKED
from vlm4vla.backbones.kernels.small_functions import AttentionShape, SelfAttention

WIDEST = 512  # hidden size
LONGEST = 128  # tokens


def is_small(x: Tensor) -> bool:
    """Whether the functions of this module compute `x`."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


# Attention ----------------------------------------------------------------------------------------------


def _heads_of(module: nn.Module) -> tuple[int, int]:
    """The heads of queries, and of keys and values."""
    if hasattr(module, "qkv"):
        return module.num_heads, module.num_heads
    return module.q_proj.out_features // module.head_dim, module.k_proj.out_features // module.head_dim


def _self_attention(
    module: nn.Module,
    states: Tensor,
    mask: Tensor | None,
    positions: tuple[Tensor, Tensor] | None = None,
    only_last: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """`SelfAttention` of a module of transformers.

    `mask` (B or 1, 1, T, T): boolean (true where a query attends), or added to the scores, or None.
    """
    if mask is None and module.is_causal and not only_last:
        mask = states.new_ones(1, 1, *2 * states.shape[1:2], dtype=torch.bool).tril()
    if mask is not None and mask.dtype == torch.bool:
        mask = states.new_zeros(mask.shape).masked_fill_(~mask, torch.finfo(states.dtype).min)
    if hasattr(module, "qkv"):
        linears = [module.qkv.weight, module.qkv.bias, None, None, None, None]
    else:
        layers = (module.q_proj, module.k_proj, module.v_proj)
        linears = [each for layer in layers for each in (layer.weight, layer.bias)]
    norm = getattr(module, "q_norm", None)
    scales, eps = (None, None), 0.0
    if norm is not None and not isinstance(norm, nn.Identity):
        scales, eps = (norm.weight, module.k_norm.weight), norm.variance_epsilon
    shape = AttentionShape(
        *_heads_of(module),
        scale=module.scaling if hasattr(module, "scaling") else module.scale,
        softcap=getattr(module, "attn_logit_softcapping", None),
        eps=eps,
        only_last=only_last,
    )
    cos, sin = (None, None) if positions is None else (each.to(states.dtype) for each in positions)
    return SelfAttention.apply(states, *linears, *scales, cos, sin, mask, shape)


def has_own_attention(config: PreTrainedConfig, length: int) -> bool:
    """Whether a part of a model with this config computes `length` tokens by `SelfAttention`.

    That needs the attention which the family's adapter chose: eager for scores with a soft cap, else sdpa.
    """
    own = "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"
    return config._attn_implementation == own and length <= LONGEST


def _fits(module: nn.Module, states: Tensor, mask: Tensor | None) -> bool:
    """Whether `_self_attention` computes what the module is asked for."""
    dropout = getattr(module, "attention_dropout", getattr(module, "dropout", 0.0))
    return (
        is_small(states)
        and has_own_attention(module.config, states.shape[1])
        and not (module.training and dropout)
        and (mask is None or mask.shape[1:] == (1, *2 * states.shape[1:2]))
    )


class _TextAttention(nn.Module):
    """Causal attention with rotary positions."""

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        **options: Any,
    ) -> tuple[Tensor, None]:
        is_empty = past_key_values is None or not past_key_values.get_seq_length(self.layer_idx)
        if not (is_empty and _fits(self, hidden_states, attention_mask)):
            options["past_key_values"] = past_key_values
            return super().forward(
                hidden_states=hidden_states,
                position_embeddings=position_embeddings,
                attention_mask=attention_mask,
                **options,
            )
        attended, keys, values = _self_attention(
            self, hidden_states, attention_mask, position_embeddings, keeps_last(self.o_proj)
        )
        if past_key_values is not None:
            past_key_values.update(keys, values, self.layer_idx)
        return self.o_proj(attended), None


class _PlainAttention(nn.Module):
    """Attention without rotary positions: vision encoders, and the text layers of Kosmos-2."""

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, None]:
        others = (options.get(name) for name in ("encoder_hidden_states", "past_key_values"))
        if any(each is not None for each in others) or not _fits(self, hidden_states, attention_mask):
            return super().forward(hidden_states=hidden_states, attention_mask=attention_mask, **options)
        output = self.projection_layer if hasattr(self, "projection_layer") else self.out_proj
        attended, _, _ = _self_attention(self, hidden_states, attention_mask, only_last=keeps_last(output))
        if getattr(self, "inner_attn_ln", None) is not None:
            attended = self.inner_attn_ln(attended)
        attended = output(attended)
        return self.projection_dropout(attended) if hasattr(self, "projection_dropout") else attended, None


class _PackedAttention(nn.Module):
    """Attention of Qwen's vision encoders: one sequence of images (or windows) of the same length."""

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        max_seqlen: int | None = None,
        **options: Any,
    ) -> Tensor:
        images = cu_seqlens.numel() - 1
        total = hidden_states.shape[0]
        is_regular = isinstance(max_seqlen, int) and max_seqlen <= LONGEST and images * max_seqlen == total
        packed = self.config._attn_implementation == PACKED
        if not (is_regular and packed and is_small(hidden_states)):
            options |= {"position_embeddings": position_embeddings, "max_seqlen": max_seqlen}
            return super().forward(hidden_states, cu_seqlens, **options)
        states, cos, sin = (x.view(images, max_seqlen, -1) for x in (hidden_states, *position_embeddings))
        attended, _, _ = _self_attention(self, states, None, (cos, sin))
        return self.proj(attended.view(total, -1))


# Models -------------------------------------------------------------------------------------------------

KINDS: dict[str, type] = {  # by the name of a class of transformers
    "Qwen2_5_VLAttention": _TextAttention,
    "Qwen3VLTextAttention": _TextAttention,
    "Qwen3VLMoeTextAttention": _TextAttention,
    "Qwen3Attention": _TextAttention,
    "GemmaAttention": _TextAttention,
    "Gemma2Attention": _TextAttention,
    "KosmosTextAttention": _PlainAttention,
    "Kosmos2VisionAttention": _PlainAttention,
    "SiglipAttention": _PlainAttention,
    "InternVLVisionAttention": _PlainAttention,
    "Qwen2_5_VLVisionAttention": _PackedAttention,
    "Qwen3VLVisionAttention": _PackedAttention,
    "Qwen3VLMoeVisionAttention": _PackedAttention,
}


@functools.cache
def _subclass(kind: type, own: type) -> type:
    """The class `own` of transformers with the methods of `kind`.

    By the class's name, transformers finds the names of a model's weights in files, and the outputs that it
    can record. So the names stay the same.
    """
    names = {"__module__": own.__module__, "__qualname__": own.__qualname__}
    return type(own.__name__, (kind, own), names)


def is_small_model(model: PreTrainedModel) -> bool:
    """Whether both parts of the model have at most the hidden size `WIDEST`."""
    parts = (model.config.get_text_config(), getattr(model.config, "vision_config", None))
    # A vision encoder of several parts (DeepSeek-OCR) has no size of its own, and that inside an encoder of
    # image and text (T5Gemma 2) is not named here: both are left as they are.
    return max(getattr(part, "hidden_size", WIDEST + 1) for part in parts) <= WIDEST


def change_modules(model: PreTrainedModel, kinds: Mapping[str, type]) -> None:
    """Give the modules of a small model the methods of `kinds`, by the names of transformers' classes.

    A large model stays as it is.
    """
    if not is_small_model(model):
        return
    for module in model.modules():
        own = type(module)
        kind = kinds.get(own.__name__)
        is_known = kind is not None and own.__module__.startswith("transformers.")
        if is_known and not issubclass(own, kind):
            module.__class__ = _subclass(kind, own)


def use_small_functions(model: PreTrainedModel) -> None:
    """Change a small model in place; see this file's docstring."""
    change_modules(model, KINDS)
