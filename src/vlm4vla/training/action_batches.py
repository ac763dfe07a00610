"""Batches of VLA training: one picture and its instruction in, the chunk of actions that followed out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.actions.chunks import indexed_chunks
from vlm4vla.artefacts import UserError
from vlm4vla.data.lerobot import Demonstrations
from vlm4vla.policy import Policy
from vlm4vla.training.augmentation import colour_jitter, random_shift
from vlm4vla.training.sampling import ShuffledIds


class ActionObjective(nn.Module):
    """The policy's loss on an `ActionBatches` batch."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.policy = policy

    def forward(self, batch: tuple[dict[str, Any], Tensor, Tensor, Tensor]) -> Tensor:
        """`batch`: model inputs, pose (B, chunk, 6), gripper (B, chunk), mask (B, chunk)."""
        return self.policy.loss(*batch)


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
        self._targets = [torch.from_numpy(values) for values in (pose, gripper, mask)]

    def ids(self, step: int) -> np.ndarray:
        """Frames of an update."""
        return self._frames.at(step)

    def batch(
        self, ids: np.ndarray, random: np.random.Generator
    ) -> tuple[dict[str, Any], Tensor, Tensor, Tensor]:
        """Model inputs, pose (B, chunk, 6) in [-1, 1], gripper (B, chunk) in {0, 1}, mask (B, chunk)."""
        images = random_shift(self.images[ids], self.shift, random)
        images = colour_jitter(images, self.colour, random)
        inputs = self.backbone.batch([self._prompts[task] for task in self._task[ids]], images)
        pose, gripper, mask = (values[torch.from_numpy(ids)] for values in self._targets)
        return inputs, pose, gripper, mask
