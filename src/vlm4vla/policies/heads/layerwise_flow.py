"""The head of pi0 (arXiv 2410.24164): a flow-matching action expert that reads the backbone layer by layer.

The expert is a second, smaller stack of the backbone's own text layers. Its tokens are the robot's state and
the noisy actions. In each layer they attend to each other and to the backbone's keys and values of that
layer. The backbone does not attend to them. docs/experts.md lists the differences from the original.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.prompt_cache import PromptCache
from vlm4vla.config.policies import FlowHeadSettings
from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE
from vlm4vla.policies.heads.base import ActionHead, Targets, masked_mean, target_actions
from vlm4vla.policies.heads.flow_matching import flow_errors, integrate, sample_times, time_features


class LayerwiseFlowHead(ActionHead):
    """pi0's action expert. One token holds the robot's state (`state_size` numbers), one each chunk step."""

    reads_state = True
    samples = True

    def __init__(self, backbone: LoadedBackbone, settings: FlowHeadSettings, chunk: int, state_size: int):
        super().__init__()
        self.chunk, self.steps = chunk, settings.integration_steps
        width = settings.width
        text = backbone.adapter.text_model(backbone.model)
        config = copy.deepcopy(text.config)
        config.hidden_size, config.intermediate_size = width, settings.intermediate
        config.vocab_size, config.pad_token_id = 1, None  # the expert reads no words
        self.expert = type(text)(config)
        self.state_in = nn.Linear(state_size, width)
        self.action_in = nn.Linear(ACTION_SIZE, width)
        self.time_mixer = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.out = nn.Linear(width, ACTION_SIZE)
        self.width = width

    def velocity(self, prompt: PromptCache, state: Tensor, x: Tensor, times: Tensor) -> Tensor:
        """Velocity (B, chunk, 7) at noisy actions `x` (B, chunk, 7) and times (B,)."""
        time = time_features(times, self.width)[:, None].expand(-1, self.chunk, -1)
        steps = self.time_mixer(torch.cat([self.action_in(x), time], dim=-1))
        tokens = torch.cat([self.state_in(state)[:, None], steps], dim=1)  # (B, 1 + chunk, width)
        output = self.expert(
            inputs_embeds=tokens,
            attention_mask=self.mask(prompt.mask, tokens),
            position_ids=prompt.next_positions(1 + self.chunk),
            past_key_values=prompt.dynamic_cache(),
            use_cache=True,
        )
        return self.out(output.last_hidden_state[:, 1:])

    def mask(self, prompt_mask: Tensor, tokens: Tensor) -> Tensor:
        """Attention mask (B, 1, 1 + chunk, T + 1 + chunk), to be added to the attention scores.

        `prompt_mask`: (B, T). Every token attends to the prompt and to itself. Action tokens also attend to
        the state and to each other.
        """
        batch, count, _ = tokens.shape
        own = torch.ones(count, count, dtype=torch.bool, device=prompt_mask.device)
        own[0, 1:] = False
        prompt = prompt_mask.bool()[:, None].expand(-1, count, -1)
        visible = torch.cat([prompt, own.expand(batch, -1, -1)], dim=-1)
        lowest = torch.finfo(tokens.dtype).min
        scores = torch.zeros(visible.shape, dtype=tokens.dtype, device=tokens.device)
        return scores.masked_fill(~visible, lowest)[:, None]

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Flow-matching loss with one time and one noise for each sample: a mean over unmasked steps."""
        prompt, state, actions = PromptCache(backbone, inputs), targets["state"], target_actions(targets)
        times = sample_times(len(actions)).to(actions)
        errors = flow_errors(
            lambda x, t: self.velocity(prompt, state, x, t), actions, torch.randn_like(actions), times
        )
        return masked_mean(errors, targets["mask"])

    def actions(
        self, backbone: LoadedBackbone, inputs: dict[str, Any], state: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        prompt = PromptCache(backbone, inputs)
        found = integrate(lambda x, t: self.velocity(prompt, state, x, t), noise, self.steps)
        return found[..., :POSE_SIZE].clamp(-1, 1), found[..., POSE_SIZE:]
