"""A flow-matching action expert that attends to the backbone layer by layer: the head of pi0 (2410.24164).

The expert is a second, smaller stack of the backbone's own text layers. Its tokens are the robot's state and
the noisy actions; in each layer they attend to the backbone's keys and values of that layer and to each
other, while the backbone does not see them. docs/experts.md says what differs from the original.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.prompt_cache import Reading
from vlm4vla.config.heads import FlowHeadSettings
from vlm4vla.policies.heads.base import POSE_SIZE, ActionHead, Targets, masked_mean
from vlm4vla.policies.heads.flow import flow_errors, integrate, sample_times, time_features

SIZE = POSE_SIZE + 1


def actions_of(targets: Targets) -> Tensor:
    """(B, chunk, 7) in [-1, 1]: pose, and the gripper as -1 or 1."""
    pose = targets["pose"]
    gripper = 2 * targets["gripper"].reshape(*pose.shape[:2], 1).to(pose.dtype) - 1
    return torch.cat([pose, gripper], dim=-1)


class LayerwiseFlowHead(ActionHead):
    """`state_size` S numbers of robot state make one token, each step of the chunk another."""

    reads_state = True
    samples = True

    def __init__(self, backbone: LoadedBackbone, settings: FlowHeadSettings, chunk: int, state_size: int):
        super().__init__()
        self.chunk, self.steps = chunk, settings.integration_steps
        width = settings.width
        text = backbone.adapter.text_model(backbone.model)
        config = copy.deepcopy(text.config)
        config.hidden_size, config.intermediate_size = width, settings.intermediate
        config.vocab_size, config.pad_token_id = 1, None  # it reads no words
        self.expert = type(text)(config)
        self.state_in = nn.Linear(state_size, width)
        self.action_in = nn.Linear(SIZE, width)
        self.time_mixer = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.out = nn.Linear(width, SIZE)
        self.width = width

    def velocity(self, reading: Reading, state: Tensor, x: Tensor, times: Tensor) -> Tensor:
        """(B, chunk, 7) at noisy actions `x` (B, chunk, 7) and times (B,)."""
        time = time_features(times, self.width)[:, None].expand(-1, self.chunk, -1)
        steps = self.time_mixer(torch.cat([self.action_in(x), time], dim=-1))
        tokens = torch.cat([self.state_in(state)[:, None], steps], dim=1)  # (B, 1 + chunk, width)
        output = self.expert(
            inputs_embeds=tokens,
            attention_mask=self.mask(reading.mask, tokens),
            position_ids=reading.positions(1 + self.chunk),
            past_key_values=reading.cache(),
            use_cache=True,
        )
        return self.out(output.last_hidden_state[:, 1:])

    def mask(self, read: Tensor, tokens: Tensor) -> Tensor:
        """(B, 1, 1 + chunk, T + 1 + chunk), added to attention scores.

        All tokens see what was read; the state sees itself, and the actions see it and each other.
        """
        batch, count, _ = tokens.shape
        own = torch.ones(count, count, dtype=torch.bool, device=read.device)
        own[0, 1:] = False
        seen = torch.cat([read.bool()[:, None].expand(-1, count, -1), own.expand(batch, -1, -1)], dim=-1)
        lowest = torch.finfo(tokens.dtype).min
        return torch.where(seen, 0.0, lowest).to(tokens.dtype)[:, None]

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Flow-matching loss: one time and one noise a sample, a mean over unmasked steps."""
        reading, state, actions = Reading(backbone, inputs), targets["state"], actions_of(targets)
        times = sample_times(len(actions)).to(actions)
        errors = flow_errors(
            lambda x, t: self.velocity(reading, state, x, t), actions, torch.randn_like(actions), times
        )
        return masked_mean(errors, targets["mask"])

    def actions(
        self, backbone: LoadedBackbone, inputs: dict[str, Any], state: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        reading = Reading(backbone, inputs)
        found = integrate(lambda x, t: self.velocity(reading, state, x, t), noise, self.steps)
        return found[..., :POSE_SIZE].clamp(-1, 1), found[..., POSE_SIZE:]
