"""Optimisers: AdamW for all weights, or Muon for hidden matrices and AdamW for the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from vlm4vla.config.training import Optimiser
from vlm4vla.policies.heads.base import ActionHead
from vlm4vla.training.components.flat_parameters import NamedParameters
from vlm4vla.training.components.muon import Muon

MUON_MOMENTUM = 0.95


def split_parameters(
    model: nn.Module, optimiser: str
) -> tuple[NamedParameters, NamedParameters, NamedParameters]:
    """Split the trainable parameters into (Muon's, AdamW's with weight decay, AdamW's without).

    Muon takes the hidden matrices: each `weight` of two or more dimensions that belongs neither to an
    embedding, nor to the output layer, nor to an action head. The weight of a patch convolution counts as the
    matrix that maps a patch. With `optimiser` adamw, Muon's part is empty. A head is new and wide:
    orthogonalising its matrices too made an update of a tiny VLA take half as long again (docs/decisions.md).

    Weight decay acts on parameters of two or more dimensions, not on biases and norms. Each part keeps the
    model's order.
    """
    excluded = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            excluded.add(id(module.weight))
        if isinstance(module, ActionHead):
            excluded.update(map(id, module.parameters()))
        output = getattr(module, "get_output_embeddings", lambda: None)()
        if output is not None:
            excluded.add(id(output.weight))
    parts: tuple[NamedParameters, NamedParameters, NamedParameters] = ([], [], [])
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            hidden = parameter.ndim >= 2 and name.endswith("weight") and id(parameter) not in excluded
            if hidden and optimiser == "muon":
                parts[0].append((name, parameter))
            else:
                parts[1 if parameter.ndim >= 2 else 2].append((name, parameter))
    return parts


def freeze_unused(model: nn.Module) -> None:
    """Freeze the parameters without a gradient after a backward pass, and clear all gradients.

    A VLA never uses the output layer, for example. Weight decay would shrink unused parameters, and several
    processes would wait for their gradients.
    """
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.requires_grad_(False)
        parameter.grad = None


def build_optimisers(
    parts: Sequence[Sequence[nn.Parameter]], settings: Optimiser
) -> list[torch.optim.Optimizer]:
    """Build the optimisers over the weights of `split_parameters`' three parts; empty parts are left out.

    Each parameter group keeps its configured rate as `base_rate`; `set_rate` scales that rate.
    """
    matrices, *others = parts
    optimisers: list[torch.optim.Optimizer] = []
    if matrices:
        rate, decay = settings.muon_learning_rate, settings.weight_decay
        optimisers.append(Muon(matrices, rate, MUON_MOMENTUM, decay, settings.muon_polynomials))
    if any(others):
        optimisers.append(build_adamw(others, settings, settings.learning_rate, fused=True))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["base_rate"] = group["lr"]
    return optimisers


def build_adamw(
    parts: Sequence[Sequence[nn.Parameter]],
    settings: Optimiser,
    learning_rate: float,
    fused: bool | None = None,
) -> torch.optim.AdamW:
    """Build AdamW over (weights with weight decay, weights without); an empty part makes no group.

    `fused`: as for torch.optim.AdamW.
    """
    groups = [
        {"params": list(part), "weight_decay": decay}
        for part, decay in zip(parts, (settings.weight_decay, 0.0), strict=True)
        if part
    ]
    betas = (float(settings.betas[0]), float(settings.betas[1]))
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=fused)


def set_rate(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set the rate of every parameter group to `factor` times its configured rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["base_rate"] * factor


def rate_factor(step: int, steps: int, optimiser: Optimiser) -> float:
    """Return the factor of the learning rate at update `step` (0-based) of `steps`.

    The rate warms up linearly over the first updates: `warmup` is a fraction of `steps`, or above 1 a number
    of updates. Then it is constant, or it follows half a cosine that reaches `final` at the last update.
    """
    warmup = optimiser.warmup
    warm = min(int(warmup), steps) if warmup > 1 else round(warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if optimiser.schedule == "constant":
        return 1.0
    progress = (step - warm) / max(1, steps - 1 - warm)
    return optimiser.final + (1 - optimiser.final) * 0.5 * (1 + math.cos(math.pi * progress))


class WeightAverage:
    """Keeps average <- d * average + (1 - d) * weights after each update, for a list of tensors.

    d = min(`decay`, (1 + n) / (10 + n)) after n updates, so that the initial weights do not dominate the
    average of a short run (the ramp of tf.train.ExponentialMovingAverage). With `decay` 0 there is no
    average, and `averages` is empty.
    """

    def __init__(self, weights: Sequence[torch.Tensor], decay: float):
        self.decay = decay
        self._weights = [weight.detach() for weight in weights]
        self.averages = [weight.clone() for weight in self._weights] if decay else []

    def update(self, updates: int) -> None:
        """Include the weights after update number `updates` (1-based)."""
        if self.averages:
            decay = min(self.decay, (1 + updates) / (10 + updates))
            torch._foreach_lerp_(self.averages, self._weights, 1 - decay)

    def apply(self) -> None:
        """Overwrite the weights with their averages."""
        if self.averages:
            torch._foreach_copy_(self._weights, self.averages)
