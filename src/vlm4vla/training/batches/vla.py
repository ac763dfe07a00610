"""What VLA training draws its batches from, by where the demonstrations are."""

from __future__ import annotations

from vlm4vla.config.stages import VlaSettings
from vlm4vla.data.demonstrations.frame_index import FrameIndex
from vlm4vla.data.lerobot.reader import Demonstrations
from vlm4vla.policies.policy import Policy
from vlm4vla.training.batches.actions import ActionBatches
from vlm4vla.training.batches.streamed import StreamedBatches


def action_samples(
    policy: Policy, frames: Demonstrations | FrameIndex, settings: VlaSettings
) -> ActionBatches | StreamedBatches:
    """Batches from memory, or from disk through worker processes. Close them after training."""
    batch, seed = settings.training.batch, settings.seed
    if isinstance(frames, FrameIndex):
        return StreamedBatches(
            policy, frames, shift=settings.shift, augmentation=settings.augmentation, batch=batch, seed=seed
        )
    return ActionBatches(
        policy, frames, shift=settings.shift, colour=settings.colour_jitter, batch=batch, seed=seed
    )
