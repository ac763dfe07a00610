"""The interface of an action head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from vlm4vla.backbones.loaded import LoadedBackbone


class Targets(TypedDict, total=False):
    """The training targets of a batch, and the robot states.

    pose: (B, chunk, 6) in [-1, 1]. gripper: (B, chunk) in {0, 1}. mask: (B, chunk), 0 for steps padded beyond
    the end of an episode. state: (B, S), scaled; only for heads that read the state. plan: (B, W, 2), the
    gripper's future positions in the image, for heads that plan; column and row as fractions of the image's
    width and height.
    """

    pose: Tensor
    gripper: Tensor
    mask: Tensor
    state: Tensor
    plan: Tensor


class ActionHead(nn.Module, ABC):
    """Computes a chunk of actions from a backbone and a batch.

    `Policy` calls `prepare_backbone` before creating the head, `loss` in training and `actions` in rollouts.
    """

    reads_state: ClassVar[bool] = False
    trains_output_layer: ClassVar[bool] = False  # True for heads that predict tokens of the vocabulary
    samples: ClassVar[bool] = False  # True for heads whose `actions` start from noise
    plan_steps: tuple[int, ...] = ()  # the future steps whose image points `Targets.plan` holds

    @classmethod
    def prepare_backbone(cls, backbone: LoadedBackbone, settings: Any) -> LoadedBackbone:
        """Return the backbone with the words that this head needs in its vocabulary."""
        return backbone

    @abstractmethod
    def loss(self, backbone: LoadedBackbone, inputs: dict[str, Any], targets: Targets) -> Tensor:
        """The scalar loss; `inputs` is a `LoadedBackbone.batch` of prompts."""

    @abstractmethod
    def actions(
        self, backbone: LoadedBackbone, inputs: dict[str, Any], state: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Pose (B, chunk, 6) in [-1, 1] and gripper logits (B, chunk, 1).

        `state`: (B, S), scaled, for heads that read the state. `noise`: (B, chunk, 7), standard normal, for
        heads that sample.
        """


def target_actions(targets: Targets) -> Tensor:
    """(B, chunk, 7) in [-1, 1]: the target pose, and the target gripper as -1 or 1."""
    pose = targets["pose"]
    gripper = 2 * targets["gripper"].reshape(*pose.shape[:2], 1).to(pose.dtype) - 1
    return torch.cat([pose, gripper], dim=-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (B, chunk) over the steps where `mask` (B, chunk) is 1."""
    mask = mask.to(values.dtype)
    return (values * mask).sum() / mask.sum().clamp(min=1)
