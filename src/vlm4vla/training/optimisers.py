"""Optimisers: AdamW for all weights, or Muon for hidden matrices and AdamW for the others."""

from __future__ import annotations

import torch
from torch import nn

from vlm4vla.config import Optimiser

MUON_MOMENTUM = 0.95
Named = list[tuple[str, nn.Parameter]]


def split_parameters(model: nn.Module) -> tuple[Named, Named]:
    """Trainable parameters as (hidden matrices, the rest), each in the model's order.

    A hidden matrix is a 2-D `weight` that belongs neither to an embedding nor to the output layer.
    """
    apart = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            apart.add(id(module.weight))
        output = getattr(module, "get_output_embeddings", lambda: None)()
        if output is not None:
            apart.add(id(output.weight))
    matrices: Named = []
    rest: Named = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            hidden = parameter.ndim == 2 and name.endswith("weight") and id(parameter) not in apart
            (matrices if hidden else rest).append((name, parameter))
    return matrices, rest


def build_optimisers(model: nn.Module, settings: Optimiser) -> list[torch.optim.Optimizer]:
    """The optimisers that share the work; each group's `base` is its rate before the schedule.

    Weight decay acts on weights of two dimensions and more: not on biases and norms.
    """
    matrices, rest = split_parameters(model)
    optimisers: list[torch.optim.Optimizer] = []
    if settings.name == "muon":
        if matrices:
            # match_rms_adamw scales the rate by 0.2 * sqrt(larger side) (Moonlight, arXiv 2502.16982).
            optimisers.append(
                torch.optim.Muon(
                    [parameter for _, parameter in matrices],
                    lr=settings.muon_learning_rate,
                    momentum=MUON_MOMENTUM,
                    weight_decay=settings.weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
    else:
        rest = matrices + rest
    groups = [
        {"params": [p for _, p in rest if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
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
