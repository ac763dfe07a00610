"""Actions as tokens of the vocabulary, predicted one after another: the head of OpenVLA (arXiv 2406.09246).

Each step has seven tokens (pose and gripper) out of `bins` action words; the loss is the next-token loss. The
only new weights are the embeddings of these words. docs/experts.md lists the differences from the original.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import append_tokens, hidden_states, logits
from vlm4vla.backbones.prompt_cache import PromptCache
from vlm4vla.backbones.vocabulary import add_words
from vlm4vla.config.policies import TokensHeadSettings
from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE
from vlm4vla.policies.heads.base import ActionHead, Targets, target_actions


def action_words(bins: int) -> list[str]:
    """The action words, one for each bin; all dimensions share them."""
    return [f"<action{number}>" for number in range(bins)]


class TokensHead(ActionHead):
    """OpenVLA's head. It has no parameters; `ids` (bins,) are the token ids of the action words."""

    trains_output_layer = True

    def __init__(self, backbone: LoadedBackbone, settings: TokensHeadSettings, chunk: int):
        super().__init__()
        self.bins, self.chunk = settings.bins, chunk
        ids = [backbone.adapter.encode(word)[0] for word in action_words(settings.bins)]
        self.register_buffer("ids", torch.tensor(ids), persistent=False)

    @classmethod
    def prepare_backbone(cls, backbone: LoadedBackbone, settings: TokensHeadSettings) -> LoadedBackbone:
        return add_words(backbone, action_words(settings.bins))

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Cross-entropy of the action tokens of unmasked steps."""
        words = self.ids[to_bins(target_actions(targets), self.bins)].flatten(1)  # (B, chunk * 7)
        hidden = hidden_states(backbone, append_tokens(backbone, inputs, words[:, :-1]))
        states = hidden[:, -words.shape[1] :]  # the state at each position predicts the token after it
        unmasked = targets["mask"].bool().repeat_interleave(ACTION_SIZE, dim=1)
        return nn.functional.cross_entropy(logits(backbone, states[unmasked]), words[unmasked])

    def actions(
        self,
        backbone: LoadedBackbone,
        inputs: dict[str, Any],
        state: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode greedily among the action words only, so that every answer is an action."""
        prompt = PromptCache(backbone, inputs)
        last, bins = prompt.hidden[:, -1], []
        for _ in range(self.chunk * ACTION_SIZE):
            bins.append(logits(backbone, last)[:, self.ids].argmax(-1))
            if len(bins) < self.chunk * ACTION_SIZE:
                last = prompt.append(self.ids[bins[-1]][:, None])[:, -1]
        found = from_bins(torch.stack(bins, dim=1), self.bins).unflatten(1, (self.chunk, ACTION_SIZE))
        return found[..., :POSE_SIZE], found[..., POSE_SIZE:]


def to_bins(actions: Tensor, bins: int) -> Tensor:
    """Bin numbers (int64, 0 to bins - 1) of actions in [-1, 1]; values outside go to the nearest edge bin."""
    return torch.floor((actions + 1) / 2 * bins).clamp(0, bins - 1).long()


def from_bins(numbers: Tensor, bins: int) -> Tensor:
    """The middle of each bin: at most 1 / bins away from any action in [-1, 1] that falls into the bin."""
    return (numbers.to(torch.float32) + 0.5) * 2 / bins - 1
