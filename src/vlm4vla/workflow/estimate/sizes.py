"""Parameters and FLOPs of a vision-language model in closed form, from its config alone.

Not obvious:
- FLOPs count the multiplications and additions of matrix products, attention's two included, each over the
  whole square of positions, as kernels without a causal shortcut compute it. Norms, activations and rotary
  positions are left out, and so is the output layer, which no VLA calls.
- A forward pass is 2 FLOPs a weight and token that meets it, plus attention. A backward pass is twice that.
- Picture tokens, patches and merged patches are different numbers: each weight counts the tokens it meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Stack:
    """Equal transformer layers.

    `mlp`: inner width, of one expert where there are `experts`; `active`: experts that a token meets.
    `small`: biases and norms of one layer.
    """

    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_size: int
    mlp: int
    gated: bool
    small: int = 0
    experts: int = 0
    active: int = 0

    def weights(self, experts: int | None = None) -> int:
        """Matrix weights of one layer; with `experts`, as if there were so many."""
        attention = 2 * self.width * self.head_size * (self.heads + self.key_value_heads)
        one = (3 if self.gated else 2) * self.width * self.mlp
        count = self.experts if experts is None else experts
        return attention + (count * one + self.experts * self.width if self.experts else one)

    @property
    def parameters(self) -> int:
        return self.layers * (self.weights() + self.small)

    def forward(self, tokens: int, keys: float) -> float:
        """FLOPs of a forward pass of `tokens`, each of which attends to `keys` of them."""
        products = 2 * self.weights(self.active or None) * tokens
        attention = 4 * self.heads * self.head_size * tokens * keys
        return self.layers * (products + attention)


@dataclass(frozen=True)
class Shape:
    """A model and what one square picture is to it.

    `patches`: tokens of the vision encoder, a class token included; `keys`: how many of them one attends to,
    in the mean over layers; `patch_weights`: of the patch embedding; `picture_tokens`: what the language
    model reads of a picture; `bridge`: (weights, tokens they meet) between the two, with attention of
    `bridge_attention` FLOPs; `bridge_spared`: what of its backward pass `freeze: vision` spares (`first`: its
    first product's input); `vision_small`, `bridge_small`, `text_small`: parameters of no matrix product.
    """

    text: Stack
    vision: Stack
    vocabulary: int
    tied: bool
    patches: int
    keys: float
    patch_weights: int
    picture_tokens: int
    bridge: tuple[tuple[int, int], ...]
    bridge_attention: int = 0
    bridge_spared: Literal["all", "first", "none"] = "none"
    vision_small: int = 0
    bridge_small: int = 0
    text_small: int = 0

    @property
    def parameters(self) -> int:
        embedding = self.vocabulary * self.text.width * (1 if self.tied else 2)
        bridge = sum(weights for weights, _ in self.bridge) + self.bridge_small
        vision = self.vision.parameters + self.patch_weights + self.vision_small
        return embedding + self.text.parameters + self.text_small + bridge + vision

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets: fewer than all only in a mixture of experts."""
        idle = self.text.weights() - self.text.weights(self.text.active or None)
        return self.parameters - self.text.layers * idle

    def vision_forward(self) -> float:
        """FLOPs of one picture up to the language model."""
        patches = 2 * self.patch_weights * self._pixels_patches
        return patches + self.vision.forward(self.patches, self.keys) + self._bridge_forward()

    def _bridge_forward(self) -> float:
        return sum(2 * weights * tokens for weights, tokens in self.bridge) + self.bridge_attention

    @property
    def _pixels_patches(self) -> int:
        """Patches without a class token, which no pixel is multiplied for."""
        return int(self.patches**0.5) ** 2

    def tokens(self, text_tokens: int) -> int:
        """Length of a sequence with one picture."""
        return self.picture_tokens + text_tokens

    def forward(self, text_tokens: int) -> float:
        """FLOPs of one sample: a picture and `text_tokens` further tokens, the query among them."""
        length = self.tokens(text_tokens)
        return self.vision_forward() + self.text.forward(length, length)

    def training(self, text_tokens: int, frozen_vision: bool = False) -> float:
        """FLOPs of one sample's forward and backward pass.

        Nothing needs the gradient of what no trained weight made: pixels, or a frozen encoder's features.
        """
        if not frozen_vision:
            return 3 * self.forward(text_tokens) - 2 * self.patch_weights * self._pixels_patches
        bridge = self._bridge_forward()
        weights, tokens = self.bridge[0]
        spared = {"all": 2 * bridge, "first": 2 * weights * tokens, "none": 0}[self.bridge_spared]
        return 3 * self.forward(text_tokens) - 2 * (self.vision_forward() - bridge) - spared
