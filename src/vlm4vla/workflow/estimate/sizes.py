"""Parameters and FLOPs of a vision-language model in closed form, from its config alone.

Not obvious:
- FLOPs count the multiplications and additions of matrix products. Attention has two of them, and each counts
  for all pairs of positions, because kernels without a causal shortcut compute all pairs. Norms, activations
  and rotary positions do not count, nor does the output layer, which no VLA calls.
- A forward pass needs 2 FLOPs for each weight and each token that is multiplied with it, plus attention. A
  backward pass needs twice as many.
- The numbers of image tokens, patches and merged patches differ. Each weight counts with the number of tokens
  that it is multiplied with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Stack:
    """A stack of equal transformer layers.

    `mlp`: the inner width of the MLP, or of one expert if there are `experts`. `active`: the experts that
    each token uses. `small`: the parameters of biases and norms per layer.
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
        """Matrix weights of one layer. `experts`: the number of experts to count (default: all)."""
        attention = 2 * self.width * self.head_size * (self.heads + self.key_value_heads)
        mlp = (3 if self.gated else 2) * self.width * self.mlp
        count = self.experts if experts is None else experts
        return attention + (count * mlp + self.experts * self.width if self.experts else mlp)

    @property
    def parameters(self) -> int:
        return self.layers * (self.weights() + self.small)

    def forward(self, tokens: int, keys: float) -> float:
        """FLOPs of a forward pass over `tokens`, if each token attends to `keys` tokens."""
        products = 2 * self.weights(self.active or None) * tokens
        attention = 4 * self.heads * self.head_size * tokens * keys
        return self.layers * (products + attention)


@dataclass(frozen=True)
class Shape:
    """The layers of a VLM, and the number of tokens of one square image.

    `patches`: tokens in the vision encoder, including a class token. `keys`: tokens that each of them attends
    to, averaged over layers. `patch_weights`: weights of the patch embedding. `image_tokens`: image tokens in
    the language model. `bridge`: (weights, tokens that are multiplied with them) of the matrices between
    vision encoder and language model. `bridge_attention`: FLOPs of attention in the bridge. `bridge_spared`:
    the part of the bridge's backward pass that `freeze: vision` saves ("first": the gradient of the input of
    the first matrix). `vision_small`, `bridge_small`, `text_small`: parameters outside of matrix products.
    """

    text: Stack
    vision: Stack
    vocabulary: int
    tied: bool
    patches: int
    keys: float
    patch_weights: int
    image_tokens: int
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
        """Parameters that each token uses: all, except in a mixture of experts."""
        unused = self.text.weights() - self.text.weights(self.text.active or None)
        return self.parameters - self.text.layers * unused

    def vision_forward(self) -> float:
        """FLOPs of one image in the vision encoder and the bridge."""
        patches = 2 * self.patch_weights * self._image_patches
        return patches + self.vision.forward(self.patches, self.keys) + self._bridge_forward()

    def _bridge_forward(self) -> float:
        return sum(2 * weights * tokens for weights, tokens in self.bridge) + self.bridge_attention

    @property
    def _image_patches(self) -> int:
        """Patches without the class token, which is not computed from pixels."""
        return int(self.patches**0.5) ** 2

    def tokens(self, text_tokens: int) -> int:
        """The length of a sequence with one image."""
        return self.image_tokens + text_tokens

    def forward(self, text_tokens: int) -> float:
        """FLOPs of a forward pass of one sample: an image and `text_tokens`, including the query."""
        length = self.tokens(text_tokens)
        return self.vision_forward() + self.text.forward(length, length)

    def training(self, text_tokens: int, frozen_vision: bool = False) -> float:
        """FLOPs of a forward and a backward pass of one sample.

        The backward pass does not compute gradients of pixels, nor of the features of a frozen encoder.
        """
        if not frozen_vision:
            return 3 * self.forward(text_tokens) - 2 * self.patch_weights * self._image_patches
        bridge = self._bridge_forward()
        weights, tokens = self.bridge[0]
        spared = {"all": 2 * bridge, "first": 2 * weights * tokens, "none": 0}[self.bridge_spared]
        return 3 * self.forward(text_tokens) - 2 * (self.vision_forward() - bridge) - spared
