"""Batches of VLA training: an image and its instruction are the inputs, the actions that follow the targets.

`ActionBatches` holds small demonstrations in memory. `StreamedBatches` reads a dataset on disk: worker
processes decode the images that the next updates need.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm4vla.actions.chunks import chunks_at, indexed_chunks
from vlm4vla.config.benchmarks import Augmentation, Shift
from vlm4vla.config.stages import VlaSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FrameIndex
from vlm4vla.data.demonstrations.picture_pool import PictureMaker, PicturePool, worker_count
from vlm4vla.data.lerobot.reader import GRIPPER_POINT, STATE, DemonstrationSet
from vlm4vla.policies.heads.base import Targets
from vlm4vla.policies.policy import Policy
from vlm4vla.training.components.samples import ShuffledIds

AHEAD = 2  # updates whose images the workers prepare in advance


class ActionObjective(nn.Module):
    """The policy's loss on a batch of `ActionBatches` or `StreamedBatches`."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.policy = policy

    def forward(self, batch: tuple[dict[str, Any], Targets]) -> Tensor:
        """`batch`: the model inputs and the targets."""
        return self.policy.loss(*batch)

    @staticmethod
    def terms(batch: tuple[dict[str, Any], Targets]) -> int:
        """Return the number of chunk steps that the loss averages.

        The loss of a plan's words, for a head that predicts a plan, is weighted by this number too.
        """
        return int(batch[1]["mask"].sum())


def action_samples(
    policy: Policy, frames: DemonstrationSet | FrameIndex, settings: VlaSettings
) -> ActionBatches | StreamedBatches:
    """Return batches from memory, or from disk for a `FrameIndex`. Close them after the training."""
    batch, seed = settings.training.batch, settings.seed
    if isinstance(frames, FrameIndex):
        return StreamedBatches(
            policy,
            frames,
            shift=settings.shift,
            augmentation=settings.augmentation,
            batch=batch,
            seed=seed,
            first_episodes=settings.first_episodes,
        )
    return ActionBatches(
        policy, frames, shift=settings.shift, colour=settings.colour_jitter, batch=batch, seed=seed
    )


class ActionBatches:
    """The frames of all demonstrations in shuffled epochs, augmented. All targets are computed once.

    Raises UserError if `policy.chunk` exceeds the longest episode, or if a column that the head needs is
    missing.
    """

    def __init__(
        self,
        policy: Policy,
        demonstrations: DemonstrationSet,
        *,
        shift: Shift,
        colour: float,
        batch: int,
        seed: int,
    ):
        if demonstrations.images is None:
            raise ValueError("the demonstrations were read without their images")
        longest = int(np.unique(demonstrations.episode_index, return_counts=True)[1].max())
        check_chunk(policy.chunk, longest, demonstrations.folder)
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
            states = required_column(demonstrations, STATE, demonstrations.states)
            targets["state"] = policy.state_scale.scale(states)
        if policy.head.plan_steps:
            points = required_column(demonstrations, GRIPPER_POINT, demonstrations.gripper_points)
            targets["plan"] = future_points(points, demonstrations.episode_index, policy.head.plan_steps)
        self._targets = {name: torch.from_numpy(values) for name, values in targets.items()}

    def ids(self, step: int) -> np.ndarray:
        """Return the frames of update `step`."""
        return self._frames.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Targets]:
        """Return the model inputs and the targets of frames `ids`."""
        images = random_shift(self.images[ids], self.shift, random)
        images = colour_jitter(images, self.colour, random)
        inputs = self.backbone.batch([self._prompts[task] for task in self._task[ids]], images)
        chosen = torch.from_numpy(ids)
        return inputs, {name: values[chosen] for name, values in self._targets.items()}

    def close(self) -> None:
        """Do nothing: no file or process is open."""


class StreamedBatches:
    """The frames of a dataset in shuffled epochs, augmented. Numbers and images are read when needed.

    The augmentation of an image depends on the seed, the update and the frame only. So the content of a batch
    depends neither on the number of workers, nor on how processes share an update, nor on where a killed run
    resumes.

    The images of the next updates are prepared for this process's positions in the batch: the process is
    assumed to take the same positions of every update.

    `first_episodes`: only the frames of so many episodes, from the start of the dataset.

    Raises UserError if `policy.chunk` exceeds the longest episode, or if a column that the head needs is
    missing.
    """

    def __init__(
        self,
        policy: Policy,
        index: FrameIndex,
        *,
        shift: Shift,
        augmentation: Augmentation | None,
        batch: int,
        seed: int,
        first_episodes: int | None = None,
        workers: int | None = None,
    ):
        check_chunk(policy.chunk, index.longest_episode, index.source)
        if policy.state_scale is not None:
            required_column(index, STATE, index.states)
        if policy.head.plan_steps:
            required_column(index, GRIPPER_POINT, index.gripper_points)
        self.policy = policy
        self.index = index
        self._frames = ShuffledIds(first_frames(index, first_episodes), batch, seed)
        self._prompts = [policy.backbone.prompt_ids(task) for task in index.tasks]
        self._step = 0
        own_share = -(-batch // int(os.environ.get("WORLD_SIZE", "1")))  # samples of this process
        self._pool = PicturePool(
            PictureMaker(index.folder, index.image_size, shift, augmentation, seed),
            workers=worker_count() if workers is None else workers,
            room=(AHEAD + 1) * own_share,
        )

    def ids(self, step: int) -> np.ndarray:
        """Return the frames of update `step`."""
        if step != self._step:
            self._step = step
            self._pool.keep_updates(step, step + AHEAD)
        return self._frames.at(step)

    def batch(self, ids: np.ndarray, random: np.random.Generator) -> tuple[dict[str, Any], Targets]:
        """Return the model inputs and the targets of frames `ids`.

        The frames must belong to the update for which `ids` was last called. `random` is not used: see the
        class.
        """
        images = self._pool.get(self._step, ids)
        positions = np.flatnonzero(np.isin(self._frames.at(self._step), ids))
        for step in range(self._step + 1, self._step + 1 + AHEAD):
            self._pool.prefetch(step, self._frames.at(step)[positions])
        tasks = self.index.task_index[ids]
        inputs = self.policy.backbone.batch([self._prompts[task] for task in tasks], images)
        return inputs, self.targets(ids)

    def targets(self, ids: np.ndarray) -> Targets:
        """Return the targets of frames `ids`: the chunk after each frame, and what else the head needs."""
        policy, index = self.policy, self.index
        last = index.last_frames(ids)
        actions, mask = chunks_at(index.actions, ids, last, policy.chunk)
        pose, gripper = policy.statistics.normalise(actions)
        values: dict[str, np.ndarray] = {"pose": pose, "gripper": gripper, "mask": mask}
        if policy.state_scale is not None:
            values["state"] = policy.state_scale.scale(index.states[ids])
        if policy.head.plan_steps:
            future = np.minimum(ids[:, None] + np.asarray(policy.head.plan_steps), last[:, None])
            values["plan"] = index.gripper_points[future].astype(np.float32)
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()}

    def close(self) -> None:
        """Stop the workers."""
        self._pool.close()


def check_chunk(chunk: int, longest: int, folder: Path) -> None:
    """Raise UserError if `chunk` exceeds `longest`, the frames of the longest episode in `folder`."""
    if chunk > longest:
        raise UserError(
            f"{folder}: the longest episode has {longest} frames, but chunk is {chunk}: write at most "
            f"{longest}"
        )


def first_frames(index: FrameIndex, episodes: int | None) -> int:
    """Return the number of frames of the first `episodes` episodes; None: of all episodes.

    Raises UserError if the dataset has fewer episodes.
    """
    if episodes is None:
        return len(index)
    if episodes > len(index.length):
        raise UserError(
            f"{index.source}: has {len(index.length)} episodes, but first_episodes is {episodes}: write at "
            f"most {len(index.length)}"
        )
    return int(index.first[episodes - 1] + index.length[episodes - 1])


def required_column(
    demonstrations: DemonstrationSet | FrameIndex, column: str, values: np.ndarray | None
) -> np.ndarray:
    """Return `values`, those of an optional column. Raises UserError if they are None."""
    if values is None:
        raise UserError(
            f"{demonstrations.folder}/data: column {column!r} is missing, but this policy's head needs it: "
            "add the column, or choose another head"
        )
    return values


def future_points(points: np.ndarray, episode_index: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Return (N, W, 2) float32: for each frame, `points` (N, 2) at each of the W `steps` after the frame.

    Beyond the end of an episode, its last point is repeated.
    """
    last = np.searchsorted(episode_index, episode_index, side="right") - 1  # (N,) last frame of the episode
    future = np.arange(len(points))[:, None] + np.asarray(steps)
    return points[np.minimum(future, last[:, None])].astype(np.float32)


# Augmentation of batches in memory ----------------------------------------------------------------------


def random_shift(images: np.ndarray, shift: Shift, random: np.random.Generator) -> np.ndarray:
    """Shift each image at random along both axes; the border repeats (DrQ, arXiv 2004.13649).

    `shift`: the largest move in each direction, or the lowest and the highest move (down and to the right),
    in pixels. Takes and returns (B, H, W, 3) uint8.
    """
    lowest, highest = shift if isinstance(shift, tuple) else (-shift, shift)
    pixels = max(-lowest, highest)
    if not pixels:
        return images
    count, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    shifted = np.empty_like(images)
    # Copying windows is ten times faster than one fancy index over the batch.
    # A window that starts at row r of the padded image moves the image down by `pixels` - r.
    starts = random.integers(pixels - highest, pixels - lowest + 1, size=(count, 2))
    for index, (row, column) in enumerate(starts):
        shifted[index] = padded[index, row : row + height, column : column + width]
    return shifted


def colour_jitter(images: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """Scale brightness, contrast and each colour channel of each image by factors in 1 ± `strength`.

    Takes and returns (B, H, W, 3) uint8. The channels' factors are in 1 ± `strength` / 2, so that a red block
    does not become orange. Contrast is scaled around the image's mean. The result is one affine map per
    channel.
    """
    if not strength:
        return images
    count, height, width, _ = images.shape
    brightness, contrast = random.uniform(1 - strength, 1 + strength, size=(2, count, 1)).astype(np.float32)
    channels = random.uniform(1 - strength / 2, 1 + strength / 2, size=(count, 3)).astype(np.float32)
    rows = torch.from_numpy(images).reshape(count, height, width * 3).float()
    gain = brightness * channels  # (B, 3)
    middle = rows.mean((1, 2))[:, None].numpy() * brightness  # (B, 1)
    # The factors are repeated along a row, so that the innermost axis is long.
    scale = torch.from_numpy(np.tile(contrast * gain, (1, width)))[:, None]  # (B, 1, W * 3)
    rows.mul_(scale).add_(torch.from_numpy((1 - contrast) * middle)[:, None])
    return rows.round_().clamp_(0, 255).numpy().astype(np.uint8).reshape(images.shape)
