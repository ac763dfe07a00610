"""Batches of VLA training from a data set on disk: worker processes decode what the next updates need."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from vlm4vla.actions.chunks import chunks_at
from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FrameIndex
from vlm4vla.data.demonstrations.picture_pool import PictureMaker, PicturePool, worker_count
from vlm4vla.data.lerobot.reader import GRIPPER_POINT, STATE
from vlm4vla.policies.heads.base import Targets
from vlm4vla.policies.policy import Policy
from vlm4vla.training.batches.actions import needed
from vlm4vla.training.components.samples import ShuffledIds

AHEAD = 2  # updates whose pictures are made before they are asked for


class StreamedBatches:
    """Frames of a data set in shuffled passes, augmented; numbers and pictures are read when they are needed.

    A picture's augmentation follows from seed, update and frame: what a batch holds does not depend on the
    number of workers, on how an update is shared among processes, nor on where a killed run goes on. The
    frames of an update that this process asks for are those that it will ask for of later updates (its
    places in the batch): they are made ahead.
    """

    def __init__(
        self,
        policy: Policy,
        index: FrameIndex,
        *,
        shift: int,
        augmentation: Augmentation | None,
        batch: int,
        seed: int,
        workers: int | None = None,
    ):
        if policy.chunk > index.longest_episode:
            raise UserError(
                f"{index.source}: the longest episode has {index.longest_episode} frames, chunk is "
                f"{policy.chunk}: write at most {index.longest_episode}"
            )
        if policy.state_scale is not None:
            needed(index, STATE, index.states)
        if policy.head.plan_steps:
            needed(index, GRIPPER_POINT, index.gripper_points)
        self.policy = policy
        self.index = index
        self._frames = ShuffledIds(len(index), batch, seed)
        self._prompts = [policy.backbone.prompt_ids(task) for task in index.tasks]
        self._step = 0
        share = -(-batch // int(os.environ.get("WORLD_SIZE", "1")))  # of this process
        self._pool = PicturePool(
            PictureMaker(index.folder, index.image_size, shift, augmentation, seed),
            workers=worker_count() if workers is None else workers,
            room=(AHEAD + 1) * share,
        )

    def ids(self, step: int) -> np.ndarray:
        """Frames of an update."""
        if step != self._step:
            self._step = step
            self._pool.drop_before(step, step + AHEAD)
        return self._frames.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Targets]:
        """Model inputs and `Targets` of frames of the update that `ids` was last asked for.

        `random` is not used: see the class.
        """
        images = self._pool.take(self._step, ids)
        places = np.flatnonzero(np.isin(self._frames.at(self._step), ids))
        for step in range(self._step + 1, self._step + 1 + AHEAD):
            self._pool.want(step, self._frames.at(step)[places])
        tasks = self.index.task_index[ids]
        inputs = self.policy.backbone.batch([self._prompts[task] for task in tasks], images)
        return inputs, self.targets(ids)

    def targets(self, ids: np.ndarray) -> Targets:
        """What is learnt from frames `ids`: the chunk that followed each, and what else the head learns."""
        policy, index = self.policy, self.index
        last = index.last(ids)
        actions, mask = chunks_at(index.actions, ids, last, policy.chunk)
        pose, gripper = policy.statistics.normalise(actions)
        values: dict[str, np.ndarray] = {"pose": pose, "gripper": gripper, "mask": mask}
        if policy.state_scale is not None:
            values["state"] = policy.state_scale.scale(index.states[ids])
        if policy.head.plan_steps:
            ahead = np.minimum(ids[:, None] + np.asarray(policy.head.plan_steps), last[:, None])
            values["plan"] = index.gripper_points[ahead].astype(np.float32)
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}

    def close(self) -> None:
        """End the workers."""
        self._pool.close()
