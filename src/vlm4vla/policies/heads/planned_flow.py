"""First a plan, then a flow that reads it: a head after ThinkAct (arXiv 2507.16815).

The backbone says where the gripper will be in the picture at some steps ahead (a visual trajectory). A small
transformer that reads the robot's state then learns the flow of the actions; it attends to the backbone's
states of picture, instruction and plan. docs/experts.md says what differs from the original.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import followed_by, hidden_states, logits
from vlm4vla.backbones.prompt_cache import Reading
from vlm4vla.backbones.vocabulary import add_words
from vlm4vla.config.heads import PlannedFlowHeadSettings
from vlm4vla.data.questions.points import BINS
from vlm4vla.policies.heads.base import POSE_SIZE, ActionHead, Targets, masked_mean
from vlm4vla.policies.heads.flow import flow_errors, integrate, sample_times, time_features
from vlm4vla.policies.heads.layerwise_flow import SIZE, actions_of


def plan_words() -> list[str]:
    """Words of the columns, then of the rows."""
    return [f"<{axis}{number:02d}>" for axis in "xy" for number in range(BINS)]


class PlannedFlowHead(ActionHead):
    """`ids` (2, BINS): token ids of the columns' and the rows' words."""

    reads_state = True
    says_words = True
    samples = True

    def __init__(
        self, backbone: LoadedBackbone, settings: PlannedFlowHeadSettings, chunk: int, state_size: int
    ):
        super().__init__()
        self.chunk, self.steps, self.width = chunk, settings.integration_steps, settings.width
        self.plan_steps = tuple(settings.plan)
        self.plan_loss_weight = settings.plan_loss_weight
        width = settings.width
        ids = [backbone.adapter.encode(word)[0] for word in plan_words()]
        self.register_buffer("ids", torch.tensor(ids).view(2, BINS), persistent=False)
        self.memory_in = nn.Linear(backbone.hidden_size, width)
        self.state_in = nn.Linear(state_size, width)
        self.action_in = nn.Linear(SIZE, width)
        self.place = nn.Parameter(0.02 * torch.randn(1 + chunk, width))
        self.time_mixer = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        layer = nn.TransformerDecoderLayer(
            width,
            settings.heads,
            2 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.decoder = nn.TransformerDecoder(layer, settings.layers, norm=nn.LayerNorm(width))
        self.out = nn.Linear(width, SIZE)

    @classmethod
    def prepared(cls, backbone: LoadedBackbone, settings: PlannedFlowHeadSettings) -> LoadedBackbone:
        return add_words(backbone, plan_words())

    def plan_ids(self, plan: Tensor) -> Tensor:
        """(B, 2 * W) token ids of image points (B, W, 2) in 0..1: column, row, column, row, ..."""
        numbers = (plan * BINS).floor().clamp(0, BINS - 1).long()
        return torch.stack([self.ids[axis][numbers[..., axis]] for axis in (0, 1)], dim=-1).flatten(1)

    def say_plan(self, backbone: LoadedBackbone, reading: Reading) -> Tensor:
        """Greedy plan (B, W, 2), the middles of its sixteenths; `reading` has then read it."""
        numbers, last = [], reading.hidden[:, -1]
        for index in range(2 * len(self.plan_steps)):
            words = self.ids[index % 2]
            numbers.append(logits(backbone, last)[:, words].argmax(-1))
            last = reading.on(words[numbers[-1]][:, None])[:, -1]
        return (torch.stack(numbers, dim=1).unflatten(1, (-1, 2)) + 0.5) / BINS

    def velocity(self, memory: Tensor, mask: Tensor, state: Tensor, x: Tensor, times: Tensor) -> Tensor:
        """(B, chunk, 7) at noisy actions `x` (B, chunk, 7) and times (B,); `memory` (B, T, width) is what the
        backbone has read and said, where `mask` (B, T) is 1."""
        tokens = torch.cat([self.state_in(state)[:, None], self.action_in(x)], dim=1) + self.place
        tokens = tokens + self.time_mixer(time_features(times, self.width))[:, None]
        hidden = self.decoder(tokens, memory, memory_key_padding_mask=~mask.bool())
        return self.out(hidden[:, 1:])

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Weighted next-token loss of the true plan's words, and the flow's loss given that plan."""
        state, actions, words = targets["state"], actions_of(targets), self.plan_ids(targets["plan"])
        batch = followed_by(backbone, inputs, words)
        hidden = hidden_states(backbone, batch)
        states = hidden[:, -1 - words.shape[1] : -1]
        said = nn.functional.cross_entropy(logits(backbone, states).flatten(0, 1), words.flatten())
        memory, mask = self.memory_in(hidden), batch["attention_mask"]
        times = sample_times(len(actions)).to(actions)
        errors = flow_errors(
            lambda x, t: self.velocity(memory, mask, state, x, t), actions, torch.randn_like(actions), times
        )
        return self.plan_loss_weight * said + masked_mean(errors, targets["mask"])

    def actions(
        self, backbone: LoadedBackbone, inputs: dict[str, Any], state: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        reading = Reading(backbone, inputs)
        self.say_plan(backbone, reading)
        memory = self.memory_in(reading.hidden)
        found = integrate(lambda x, t: self.velocity(memory, reading.mask, state, x, t), noise, self.steps)
        return found[..., :POSE_SIZE].clamp(-1, 1), found[..., POSE_SIZE:]
