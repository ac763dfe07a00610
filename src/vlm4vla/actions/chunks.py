"""Action chunks: the next `chunk` actions after each frame, padded at the episode's end."""

from __future__ import annotations

import numpy as np


def chunks(actions: np.ndarray, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Chunks of one episode.

    `actions` (T, D). Returns chunks (T, chunk, D) and mask (T, chunk), float32: 1 where the step is inside
    the episode. Padded steps repeat the last action, and the mask keeps them out of the loss.
    """
    return indexed_chunks(actions, np.zeros(len(actions), dtype=np.int64), chunk)


def indexed_chunks(
    actions: np.ndarray, episode_index: np.ndarray, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chunks of many episodes that lie one after another.

    `actions` (N, D), `episode_index` (N,) non-decreasing. Returns (N, chunk, D) and mask (N, chunk); no chunk
    reaches into the next episode.
    """
    last = np.searchsorted(episode_index, episode_index, side="right") - 1  # (N,) last frame of own episode
    return chunks_at(actions, np.arange(len(actions)), last, chunk)


def chunks_at(
    actions: np.ndarray, frames: np.ndarray, last: np.ndarray, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chunks that begin at `frames` (B,) of `actions` (N, D); `last` (B,): last frame of each one's episode.

    Returns (B, chunk, D) and mask (B, chunk). Only those rows are read.
    """
    wanted = frames[:, None] + np.arange(chunk)[None, :]  # (B, chunk)
    mask = (wanted <= last[:, None]).astype(np.float32)
    return actions[np.minimum(wanted, last[:, None])], mask
