"""Optimisers: AdamW for all weights, or Muon for hidden matrices and AdamW for the others."""

from __future__ import annotations

import torch
from torch import nn

from vlm4vla.heads.head import ActionHead
from vlm4vla.training.flat import FlatParameters, Named
from vlm4vla.training.muon import Muon
from vlm4vla.training_settings import Optimiser

MUON_MOMENTUM = 0.95


def split_parameters(model: nn.Module, optimiser: str) -> tuple[Named, Named, Named]:
    """Trainable parameters as (Muon's, AdamW's with weight decay, AdamW's without), in the model's order.

    Muon's are hidden matrices: `weight`s of two dimensions and more (a patch convolution is the matrix that
    maps a patch) that belong neither to an embedding, nor to the output layer, nor to an action head; none
    when `optimiser` is adamw. A head is new and wide: orthogonalising its matrices too made an update of
    a tiny VLA half as long again (docs/decisions.md).
    Decay acts on two dimensions and more: not on biases and norms.
    """
    apart = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            apart.add(id(module.weight))
        if isinstance(module, ActionHead):
            apart.update(map(id, module.parameters()))
        output = getattr(module, "get_output_embeddings", lambda: None)()
        if output is not None:
            apart.add(id(output.weight))
    parts: tuple[Named, Named, Named] = ([], [], [])
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            hidden = parameter.ndim >= 2 and name.endswith("weight") and id(parameter) not in apart
            if hidden and optimiser == "muon":
                parts[0].append((name, parameter))
            else:
                parts[1 if parameter.ndim >= 2 else 2].append((name, parameter))
    return parts


def build_optimisers(flat: FlatParameters, settings: Optimiser) -> list[torch.optim.Optimizer]:
    """The optimisers over the parts of `split_parameters`; each group's `base` is its rate at factor 1."""
    optimisers: list[torch.optim.Optimizer] = []
    if flat.views[0]:
        optimisers.append(
            Muon(
                flat.views[0],
                lr=settings.muon_learning_rate,
                momentum=MUON_MOMENTUM,
                weight_decay=settings.weight_decay,
            )
        )
    groups = [
        {"params": [part], "weight_decay": decay}
        for part, decay in zip(flat.slices[1:], (settings.weight_decay, 0.0), strict=True)
        if part.numel()
    ]
    if groups:
        betas = (float(settings.betas[0]), float(settings.betas[1]))
        optimisers.append(torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["base"] = group["lr"]
    return optimisers


def set_rate(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to `factor` times its base rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * factor
