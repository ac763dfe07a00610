"""Batches of VLA training: one picture and its instruction in, the chunk of actions that followed out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.actions.chunks import indexed_chunks
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FrameIndex
from vlm4vla.data.lerobot.reader import GRIPPER_POINT, STATE, Demonstrations
from vlm4vla.policies.heads.base import Targets
from vlm4vla.policies.policy import Policy
from vlm4vla.training.batches.augmentation import colour_jitter, random_shift
from vlm4vla.training.components.samples import ShuffledIds


class ActionObjective(nn.Module):
    """The policy's loss on an `ActionBatches` batch."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.policy = policy

    def forward(self, batch: tuple[dict[str, Any], Targets]) -> Tensor:
        """`batch`: model inputs and what they are learnt from."""
        return self.policy.loss(*batch)

    @staticmethod
    def terms(batch: tuple[dict[str, Any], Targets]) -> int:
        """How many steps of chunks the loss is a mean over (a plan's words, where a head says some, go with
        them)."""
        return int(batch[1]["mask"].sum())


class ActionBatches:
    """Frames of all demonstrations in shuffled passes, augmented; targets are made once."""

    def __init__(
        self,
        policy: Policy,
        demonstrations: Demonstrations,
        *,
        shift: int,
        colour: float,
        batch: int,
        seed: int,
    ):
        if demonstrations.images is None:
            raise ValueError("demonstrations were read without their pictures")
        longest = int(np.unique(demonstrations.episode_index, return_counts=True)[1].max())
        if policy.chunk > longest:
            raise UserError(
                f"{demonstrations.folder}: the longest episode has {longest} frames, chunk is "
                f"{policy.chunk}: write at most {longest}"
            )
        self.backbone = policy.backbone
        self.images = demonstrations.images
        self.shift = shift
        self.colour = colour
        self._frames = ShuffledIds(len(demonstrations), batch, seed)
        self._task = demonstrations.task_index
        self._prompts = [self.backbone.prompt_ids(task) for task in demonstrations.tasks]
        actions, mask = indexed_chunks(demonstrations.actions, demonstrations.episode_index, policy.chunk)
        pose, gripper = policy.statistics.normalise(actions)
        targets: dict[str, np.ndarray] = {"pose": pose, "gripper": gripper, "mask": mask}
        if policy.state_scale is not None:
            targets["state"] = policy.state_scale.scale(needed(demonstrations, STATE, demonstrations.states))
        if policy.head.plan_steps:
            points = needed(demonstrations, GRIPPER_POINT, demonstrations.gripper_points)
            targets["plan"] = points_ahead(points, demonstrations.episode_index, policy.head.plan_steps)
        self._targets = {name: torch.from_numpy(values) for name, values in targets.items()}

    def ids(self, step: int) -> np.ndarray:
        """Frames of an update."""
        return self._frames.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Targets]:
        """Model inputs and `Targets`."""
        images = random_shift(self.images[ids], self.shift, random)
        images = colour_jitter(images, self.colour, random)
        inputs = self.backbone.batch([self._prompts[task] for task in self._task[ids]], images)
        chosen = torch.from_numpy(ids)
        return inputs, {name: values[chosen] for name, values in self._targets.items()}

    def close(self) -> None:
        """Nothing is open."""


def needed(demonstrations: Demonstrations | FrameIndex, column: str, values: np.ndarray | None) -> np.ndarray:
    """`values` of a column that not every data set has. Raises UserError when they are None."""
    if values is None:
        raise UserError(
            f"{demonstrations.folder}/data: column {column!r} is missing, and this policy's head learns from "
            "it: write it, or take another head"
        )
    return values


def points_ahead(points: np.ndarray, episode_index: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """(N, W, 2): `points` (N, 2) at each of `steps` after every frame; an episode's last point stays."""
    last = np.searchsorted(episode_index, episode_index, side="right") - 1  # (N,) last frame of own episode
    ahead = np.arange(len(points))[:, None] + np.asarray(steps)
    return points[np.minimum(ahead, last[:, None])].astype(np.float32)
