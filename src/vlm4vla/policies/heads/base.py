"""What an action head has to say about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypedDict

from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone

POSE_SIZE = 6


class Targets(TypedDict, total=False):
    """What a batch is learnt from.

    pose (B, chunk, 6) in [-1, 1]; gripper (B, chunk) in {0, 1}; mask (B, chunk), 0 for steps padded beyond an
    episode's end; state (B, S), scaled (heads that read it); plan (B, W, 2), where the gripper will be in the
    picture, column and row as shares of its width and height (heads that plan).
    """

    pose: Tensor
    gripper: Tensor
    mask: Tensor
    state: Tensor
    plan: Tensor


class ActionHead(nn.Module, ABC):
    """From a backbone and a batch to a chunk of actions.

    Called by `Policy`: `prepared` before the head is made, `loss` in training, `actions` in rollouts.
    """

    reads_state: ClassVar[bool] = False
    says_words: ClassVar[bool] = False  # whether the output layer trains
    samples: ClassVar[bool] = False  # whether `actions` starts from noise
    plan_steps: tuple[int, ...] = ()  # steps ahead whose image points `Targets.plan` holds

    @classmethod
    def prepared(cls, backbone: LoadedBackbone, settings: Any) -> LoadedBackbone:
        """The backbone with the words that this head says."""
        return backbone

    @abstractmethod
    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """The scalar to minimise; `inputs` is a `LoadedBackbone.batch` of prompts."""

    @abstractmethod
    def actions(
        self, backbone: LoadedBackbone, inputs: dict[str, Any], state: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Pose (B, chunk, 6) in [-1, 1] and gripper logits (B, chunk, 1).

        `state` (B, S), scaled, for heads that read it; `noise` (B, chunk, 7), standard normal, for heads that
        sample.
        """


def masked_mean(each: Tensor, mask: Tensor) -> Tensor:
    """Mean of `each` (B, chunk) over steps with mask 1."""
    mask = mask.to(each.dtype)
    return (each * mask).sum() / mask.sum().clamp(min=1)
