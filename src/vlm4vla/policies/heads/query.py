"""The study's way from a backbone to actions: one learnable query, read last, and an MLP on its state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.config.heads import MlpHeadSettings
from vlm4vla.policies.heads.base import ActionHead, Targets, masked_mean
from vlm4vla.policies.heads.mlp import MlpHead


class QueryHead(ActionHead):
    """Parameters: `query` (d) and `mlp.*`."""

    def __init__(self, backbone: LoadedBackbone, settings: MlpHeadSettings, chunk: int):
        super().__init__()
        self.settings = settings
        # It starts as the prompt's last token, where the backbone has learnt to read off an answer
        # (docs/decisions.md: a random query saw far less of it).
        last = torch.tensor(backbone.prompt_ids("")[-1])
        with torch.no_grad():
            self.query = nn.Parameter(backbone.word_embedding()(last).clone())
        self.mlp = MlpHead(backbone.hidden_size, settings.features, settings.hidden, chunk, settings.trunk)

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Huber loss of the pose plus weighted cross-entropy of the gripper, a mean over unmasked steps."""
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
        return self.mlp(hidden.to(self.mlp.trunk[0].weight.dtype))  # real backbones may be kept in bfloat16
