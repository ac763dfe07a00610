"""Actions as words of the vocabulary, said one after another: the head of OpenVLA (arXiv 2406.09246).

Seven words a step (pose and gripper), `bins` words in all, next-token loss. There are no new weights but the
words' embeddings. docs/experts.md says what differs from the original.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import followed_by, hidden_states, logits
from vlm4vla.backbones.prompt_cache import Reading
from vlm4vla.backbones.vocabulary import add_words
from vlm4vla.config.heads import TokensHeadSettings
from vlm4vla.policies.heads.base import POSE_SIZE, ActionHead, Targets

SIZE = POSE_SIZE + 1


def action_words(bins: int) -> list[str]:
    return [f"<action{number}>" for number in range(bins)]


class TokensHead(ActionHead):
    """Holds no parameter; `ids` (bins) are the words' token ids."""

    says_words = True

    def __init__(self, backbone: LoadedBackbone, settings: TokensHeadSettings, chunk: int):
        super().__init__()
        self.bins, self.chunk = settings.bins, chunk
        ids = [backbone.adapter.encode(word)[0] for word in action_words(settings.bins)]
        self.register_buffer("ids", torch.tensor(ids), persistent=False)

    @classmethod
    def prepared(cls, backbone: LoadedBackbone, settings: TokensHeadSettings) -> LoadedBackbone:
        return add_words(backbone, action_words(settings.bins))

    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """Cross-entropy of the words of unmasked steps."""
        gripper = 2 * targets["gripper"].reshape(*targets["pose"].shape[:2], 1) - 1
        actions = torch.cat([targets["pose"], gripper.to(targets["pose"].dtype)], dim=-1)
        words = self.ids[to_bins(actions, self.bins)].flatten(1)  # (B, chunk * 7)
        whole = hidden_states(backbone, followed_by(backbone, inputs, words[:, :-1]))
        states = whole[:, -words.shape[1] :]
        learnt = targets["mask"].bool().repeat_interleave(SIZE, dim=1)
        return nn.functional.cross_entropy(logits(backbone, states[learnt]), words[learnt])

    def actions(
        self,
        backbone: LoadedBackbone,
        inputs: dict[str, Any],
        state: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Greedy, among the action words only, so that every answer is an action."""
        reading = Reading(backbone, inputs)
        last, numbers = reading.hidden[:, -1], []
        for _ in range(self.chunk * SIZE):
            numbers.append(logits(backbone, last)[:, self.ids].argmax(-1))
            if len(numbers) < self.chunk * SIZE:
                last = reading.on(self.ids[numbers[-1]][:, None])[:, -1]
        found = from_bins(torch.stack(numbers, dim=1), self.bins).unflatten(1, (self.chunk, SIZE))
        return found[..., :POSE_SIZE], found[..., POSE_SIZE:]


def to_bins(actions: Tensor, bins: int) -> Tensor:
    """Bin numbers (int64, 0 to bins - 1) of actions in [-1, 1]; what lies outside counts as the edge."""
    return torch.floor((actions + 1) / 2 * bins).clamp(0, bins - 1).long()


def from_bins(numbers: Tensor, bins: int) -> Tensor:
    """The bins' middles: no action in [-1, 1] is further from its own bin's middle than 1 / bins."""
    return (numbers.to(torch.float32) + 0.5) * 2 / bins - 1
