"""Patch embeddings as one matrix product.

Every family cuts an image into patches with a convolution whose stride equals its kernel size. Such a
convolution is a matrix product, and on a CPU the general convolution takes several times as long. Weights and
results are the same (up to rounding), so saved folders do not change.
"""

from __future__ import annotations

from torch import Tensor, nn


class PatchConv2d(nn.Conv2d):
    """(B, C, H, W) to (B, out, H / patch height, W / patch width), without overlap or padding."""

    def forward(self, pixels: Tensor) -> Tensor:
        batch, channels, height, width = pixels.shape
        patch_height, patch_width = self.kernel_size
        rows, columns = height // patch_height, width // patch_width
        patches = pixels[..., : rows * patch_height, : columns * patch_width].reshape(
            batch, channels, rows, patch_height, columns, patch_width
        )
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch * rows * columns, -1)
        embedded = nn.functional.linear(patches, self.weight.flatten(1), self.bias)
        return embedded.view(batch, rows, columns, -1).permute(0, 3, 1, 2)


class PatchConv3d(nn.Conv3d):
    """Patches (N, C, time, height, width) of exactly the kernel's size to (N, out, 1, 1, 1)."""

    def forward(self, patches: Tensor) -> Tensor:
        embedded = nn.functional.linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return embedded[..., None, None, None]


def use_matrix_products(model: nn.Module) -> None:
    """Replace every patch convolution of `model` by its matrix product, in place; parameters are kept."""
    for module in model.modules():
        if type(module) in (nn.Conv2d, nn.Conv3d) and module.stride == module.kernel_size:
            module.__class__ = PatchConv2d if type(module) is nn.Conv2d else PatchConv3d
