"""The modules of the last text layer that can be computed at one position only, by their usual names."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class LastLayer:
    """`modules`: those that add to the residual stream, and the final norm. `layer`: holds the first ones."""

    layer: nn.Module
    modules: tuple[nn.Module, ...]

    @property
    def is_replaced(self) -> bool:
        """Whether a training recomputes or compiles the layer, which hooks would not survive."""
        return "forward" in vars(self.layer)


def last_layer(language: nn.Module) -> LastLayer | None:
    """The last layer of a language model, or None if its modules have other names."""
    layers, norm = getattr(language, "layers", None), getattr(language, "norm", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers) or not isinstance(norm, nn.Module):
        return None
    output = getattr(getattr(layers[-1], "self_attn", None), "o_proj", None)
    mlp = getattr(layers[-1], "mlp", None)
    if not isinstance(output, nn.Module) or not isinstance(mlp, nn.Module):
        return None
    return LastLayer(layers[-1], (output, mlp, norm))
