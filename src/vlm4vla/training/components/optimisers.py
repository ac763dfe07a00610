"""Optimisers: AdamW for all weights, or Muon for hidden matrices and AdamW for the others."""

from __future__ import annotations

import math

import torch
from torch import nn

from vlm4vla.config.training import Optimiser
from vlm4vla.policies.heads.base import ActionHead
from vlm4vla.training.components.flat_parameters import FlatParameters, Named
from vlm4vla.training.components.muon import Muon

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


class WeightAverage:
    """Keeps average <- d * average + (1 - d) * weights after each update; weights (N,).

    d = min(`decay`, (1 + n) / (10 + n)) after n updates, so that the first weights do not linger in short
    runs (the ramp of tf.train.ExponentialMovingAverage). `decay` 0 keeps no average.
    """

    def __init__(self, weights: torch.Tensor, decay: float):
        self.decay = decay
        self._weights = weights.detach()
        self.average = self._weights.clone() if decay else None

    def update(self, updates: int) -> None:
        """Take in the weights after update number `updates` (1-based)."""
        if self.average is not None:
            self.average.lerp_(self._weights, 1 - min(self.decay, (1 + updates) / (10 + updates)))

    def apply(self) -> None:
        """Write the average into the weights (which are lost)."""
        if self.average is not None:
            self._weights.copy_(self.average)


def rate_factor(step: int, steps: int, optimiser: Optimiser) -> float:
    """Factor of the rate at update `step` (0-based) of `steps`.

    Linear warm-up over the first `warmup` share of updates, then constant, or a half cosine that reaches
    `final` at the last update.
    """
    warm = round(optimiser.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if optimiser.schedule == "constant":
        return 1.0
    progress = (step - warm) / max(1, steps - 1 - warm)
    return optimiser.final + (1 - optimiser.final) * 0.5 * (1 + math.cos(math.pi * progress))
