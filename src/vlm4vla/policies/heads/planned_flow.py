"""A head after ThinkAct (arXiv 2507.16815): it generates a plan, then the actions with a flow given the plan.

The backbone predicts where the gripper will be in the image at some future steps (a visual trajectory). A
small transformer then learns the flow of the actions. It reads the robot's state and attends to the
backbone's hidden states of image, instruction and plan. docs/experts.md lists the differences from the
original.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import append_tokens, hidden_states, logits
from vlm4vla.backbones.prompt_cache import PromptCache
from vlm4vla.backbones.vocabulary import add_words
from vlm4vla.config.policies import PlannedFlowHeadSettings
from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE
from vlm4vla.data.questions.statements import POINT_BINS
from vlm4vla.policies.heads.base import ActionHead, Targets, masked_mean, target_actions
from vlm4vla.policies.heads.flow_matching import flow_errors, integrate, sample_times, time_features


def plan_words() -> list[str]:
    """The words for image columns, then the words for image rows: POINT_BINS of each."""
    return [f"<{axis}{number:02d}>" for axis in "xy" for number in range(POINT_BINS)]


class PlannedFlowHead(ActionHead):
    """ThinkAct's head. `ids` (2, POINT_BINS): token ids of the words for columns and for rows."""

    reads_state = True
    trains_output_layer = True
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
        self.register_buffer("ids", torch.tensor(ids).view(2, POINT_BINS), persistent=False)
        self.memory_in = nn.Linear(backbone.hidden_size, width)
        self.state_in = nn.Linear(state_size, width)
        self.action_in = nn.Linear(ACTION_SIZE, width)
        self.place = nn.Parameter(0.02 * torch.randn(1 + chunk, width))  # position embeddings
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
        self.out = nn.Linear(width, ACTION_SIZE)

    @classmethod
    def prepare_backbone(cls, backbone: LoadedBackbone, settings: PlannedFlowHeadSettings) -> LoadedBackbone:
        return add_words(backbone, plan_words())

    def plan_ids(self, plan: Tensor) -> Tensor:
        """Token ids (B, 2 * W) of image points (B, W, 2) in 0..1, in the order column, row, column, ..."""
        bins = (plan * POINT_BINS).floor().clamp(0, POINT_BINS - 1).long()
        return torch.stack([self.ids[axis][bins[..., axis]] for axis in (0, 1)], dim=-1).flatten(1)

    def generate_plan(self, backbone: LoadedBackbone, prompt: PromptCache) -> Tensor:
        """Generate the plan greedily: the middles of the chosen bins, (B, W, 2) in 0..1.

        Appends the plan's tokens to `prompt`.
        """
        bins, last = [], prompt.hidden[:, -1]
        for index in range(2 * len(self.plan_steps)):
            words = self.ids[index % 2]
            bins.append(logits(backbone, last)[:, words].argmax(-1))
            last = prompt.append(words[bins[-1]][:, None])[:, -1]
        return (torch.stack(bins, dim=1).unflatten(1, (-1, 2)) + 0.5) / POINT_BINS

    def velocity(self, memory: Tensor, mask: Tensor, state: Tensor, x: Tensor, times: Tensor) -> Tensor:
        """Velocity (B, chunk, 7) at noisy actions `x` (B, chunk, 7) and times (B,).

        `memory`: (B, T, width), the projected hidden states of prompt and plan. `mask`: (B, T), 1 for real
        tokens.
        """
        tokens = torch.cat([self.state_in(state)[:, None], self.action_in(x)], dim=1) + self.place
        tokens = tokens + self.time_mixer(time_features(times, self.width))[:, None]
        hidden = self.decoder(tokens, memory, memory_key_padding_mask=~mask.bool())
        return self.out(hidden[:, 1:])

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Weighted next-token loss of the true plan, plus the flow-matching loss given the true plan."""
        state, actions, words = targets["state"], target_actions(targets), self.plan_ids(targets["plan"])
        batch = append_tokens(backbone, inputs, words)
        hidden = hidden_states(backbone, batch)
        states = hidden[:, -1 - words.shape[1] : -1]
        plan_loss = nn.functional.cross_entropy(logits(backbone, states).flatten(0, 1), words.flatten())
        memory, mask = self.memory_in(hidden), batch["attention_mask"]
        times = sample_times(len(actions)).to(actions)
        errors = flow_errors(
            lambda x, t: self.velocity(memory, mask, state, x, t), actions, torch.randn_like(actions), times
        )
        return self.plan_loss_weight * plan_loss + masked_mean(errors, targets["mask"])

    def actions(
        self, backbone: LoadedBackbone, inputs: dict[str, Any], state: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        prompt = PromptCache(backbone, inputs)
        self.generate_plan(backbone, prompt)
        memory = self.memory_in(prompt.hidden.to(self.memory_in.weight.dtype))  # bfloat16 of a real backbone
        found = integrate(lambda x, t: self.velocity(memory, prompt.mask, state, x, t), noise, self.steps)
        return found[..., :POSE_SIZE].clamp(-1, 1), found[..., POSE_SIZE:]
