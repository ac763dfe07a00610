"""The study's action head: an MLP from the query's hidden state to a chunk of actions.

Linear(d, trunk), ReLU, Linear(trunk, features); then two MLPs over `hidden` widths with ReLU, one that ends
in tanh and gives the pose, one that gives gripper logits (arXiv 2601.03309: trunk d/2, features 1024, hidden
1024, 512, 256). Xavier-uniform weights, zero biases.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

POSE_SIZE = 6


def mlp(width: int, hidden: Sequence[int], out: int) -> nn.Sequential:
    """Linear layers over `hidden` with ReLU between, ending in Linear(..., out)."""
    layers: list[nn.Module] = []
    for narrower in hidden:
        layers += [nn.Linear(width, narrower), nn.ReLU()]
        width = narrower
    return nn.Sequential(*layers, nn.Linear(width, out))


class MlpHead(nn.Module):
    """(B, d) to pose (B, chunk, 6) in [-1, 1] and gripper logits (B, chunk, 1)."""

    def __init__(
        self, width: int, features: int, hidden: Sequence[int], chunk: int, trunk: int | None = None
    ):
        super().__init__()
        self.chunk = chunk
        middle = trunk or width // 2
        self.trunk = nn.Sequential(nn.Linear(width, middle), nn.ReLU(), nn.Linear(middle, features))
        self.pose = mlp(features, hidden, chunk * POSE_SIZE)
        self.gripper = mlp(features, hidden, chunk)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(hidden)
        pose = torch.tanh(self.pose(features)).unflatten(-1, (self.chunk, POSE_SIZE))
        return pose, self.gripper(features).unsqueeze(-1)
