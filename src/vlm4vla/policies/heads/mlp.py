"""The study's action head: one learnable query, and an MLP from the query's hidden state to the actions.

The backbone reads the query as the last token of the prompt. The MLP starts with a trunk: Linear(d, trunk),
ReLU, Linear(trunk, features). Two further MLPs with the widths `hidden` and ReLU read the features. One ends
in tanh and returns the pose; the other returns gripper logits. The study (arXiv 2601.03309) uses trunk d/2,
features 1024 and hidden 1024, 512, 256. Weights start Xavier-uniform, biases at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.conventions.actions import POSE_SIZE
from vlm4vla.policies.heads.base import ActionHead, Targets, masked_mean


def mlp(width: int, hidden: Sequence[int], out: int) -> nn.Sequential:
    """Linear layers with the widths `hidden`, each followed by ReLU, and a last Linear(..., out)."""
    layers: list[nn.Module] = []
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), nn.ReLU()]
        width = next_width
    return nn.Sequential(*layers, nn.Linear(width, out))


class MlpHead(nn.Module):
    """(B, d) to pose (B, chunk, 6) in [-1, 1] and gripper logits (B, chunk, 1)."""

    def __init__(
        self, width: int, features: int, hidden: Sequence[int], chunk: int, trunk: int | None = None
    ):
        super().__init__()
        self.chunk = chunk
        trunk_width = trunk or width // 2
        self.trunk = nn.Sequential(nn.Linear(width, trunk_width), nn.ReLU(), nn.Linear(trunk_width, features))
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


class QueryHead(ActionHead):
    """The query and its MLP. Parameters: `query` (d) and `mlp.*`."""

    def __init__(self, backbone: LoadedBackbone, settings: MlpHeadSettings, chunk: int):
        super().__init__()
        self.settings = settings
        # The query starts as the prompt's last token, because the backbone has learnt to answer there.
        last = torch.tensor(backbone.prompt_ids("")[-1])
        with torch.no_grad():
            start = backbone.word_embedding()(last).clone()
            self.query = nn.Parameter(start.zero_() if settings.query == "zeros" else start)
        self.mlp = MlpHead(backbone.hidden_size, settings.features, settings.hidden, chunk, settings.trunk)

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Huber loss of the pose plus weighted cross-entropy of the gripper: a mean over unmasked steps."""
        predicted, logits = self.actions(backbone, inputs)
        logits = logits.squeeze(-1)
        motion = nn.functional.huber_loss(
            predicted, targets["pose"], delta=self.settings.huber_delta, reduction="none"
        ).mean(-1)
        gripper = targets["gripper"].reshape(logits.shape).to(logits.dtype)
        grip = nn.functional.binary_cross_entropy_with_logits(logits, gripper, reduction="none")
        return masked_mean(motion + self.settings.gripper_loss_weight * grip, targets["mask"])

    def actions(
        self,
        backbone: LoadedBackbone,
        inputs: dict[str, Any],
        state: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        hidden = backbone.hidden(inputs, self.query)
        return self.mlp(hidden.to(self.mlp.trunk[0].weight.dtype))  # a real backbone may be in bfloat16
