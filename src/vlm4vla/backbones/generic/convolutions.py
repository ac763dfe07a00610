"""Vision encoders with convolutions: batch normalisation, squeeze-excitation, and random weights.

Batch normalisation is always in evaluation mode. Its means and variances belong to the pre-trained weights,
and the frames of robots in one batch look alike: with their own mean, a prediction would depend on the other
samples, and a policy would act with other numbers than it was trained with. Scales and shifts are trained.
"""

from __future__ import annotations

import functools
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import EfficientNetModel, PreTrainedModel
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetSqueezeExciteLayer

OPEN = 40.0  # the bias of a squeeze-excitation that lets everything through: its sigmoid is 1 in float32
IMAGES, COLOURS = 16, 8  # random images, and the cells a side that they have


class _KeepsStatistics:
    """A batch normalisation that is never in training mode."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


@functools.cache
def _keeping(own: type) -> type:
    names = {"__module__": own.__module__, "__qualname__": own.__qualname__}
    return type(own.__name__, (_KeepsStatistics, own), names)


def keep_statistics(model: nn.Module) -> None:
    """Put the batch normalisations of `model` into evaluation mode, for as long as the model exists."""
    for module in model.modules():
        own = type(module)
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            if not issubclass(own, _KeepsStatistics):
                module.__class__ = _keeping(own)
            module.eval()


@torch.no_grad()
def open_squeeze_excitation(network: nn.Module) -> None:
    """Let each squeeze-excitation of an EfficientNet multiply by exactly 1: it then does nothing.

    It is how a network without squeeze-excitation is one of transformers' class, which always has it.
    """
    for name, parameter in network.named_parameters():
        if "squeeze_excite." in name:
            parameter.fill_(OPEN if name.endswith("expand.bias") else 0.0)


class OpenSqueezeExcitation(EfficientNetSqueezeExciteLayer):
    """A squeeze-excitation that does nothing, and takes no time. Its weights get no gradient."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states


def skip_open_squeeze_excitation(model: nn.Module) -> None:
    """Compute nothing in each squeeze-excitation whose weights multiply by exactly 1."""
    for module in model.modules():
        if type(module) is EfficientNetSqueezeExciteLayer and not module.expand.weight.is_meta:
            bias = module.expand.bias
            if not module.expand.weight.any() and (bias.sigmoid() == 1).all():
                module.__class__ = OpenSqueezeExcitation


@torch.no_grad()
def draw_weights(model: PreTrainedModel) -> None:
    """Draw the weights of the EfficientNets in `model` as their authors do, instead of as transformers does.

    transformers draws the scales of batch normalisations around 0, so that no image reaches the last layer.
    As the statistics are fixed, they are those of random images: each layer then has a mean of 0 and a
    variance of 1. `squeeze_expansion_ratio: 0` in the configuration means: no squeeze-excitation.
    """
    for network in model.modules():
        if not isinstance(network, EfficientNetModel):
            continue
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                outputs = module.out_channels * module.kernel_size[0] * module.kernel_size[1] / module.groups
                nn.init.normal_(module.weight, std=(2 / outputs) ** 0.5)
        for norm in norms:
            norm.reset_parameters()
        if network.config.squeeze_expansion_ratio == 0:
            open_squeeze_excitation(network)
        _measure_statistics(network, norms)


def _measure_statistics(network: EfficientNetModel, norms: list[_BatchNorm]) -> None:
    size = network.config.image_size
    weight = network.embeddings.convolution.weight
    images = torch.randn(IMAGES, network.config.num_channels, COLOURS, COLOURS).to(weight)
    images = nn.functional.interpolate(images, size=size if isinstance(size, int) else tuple(size))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        nn.Module.train(norm)
        norm.momentum = None  # the mean over batches, of which there is one
    network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
