"""Action chunks: the next `chunk` actions from each frame on, padded at the end of the episode."""

from __future__ import annotations

import numpy as np


def chunks(actions: np.ndarray, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Action chunks of one episode.

    `actions`: (T, D). Returns the chunks (T, chunk, D) and a float32 mask (T, chunk), which is 1 for steps
    inside the episode. Padded steps repeat the last action; the mask keeps them out of the loss.
    """
    return indexed_chunks(actions, np.zeros(len(actions), dtype=np.int64), chunk)


def indexed_chunks(
    actions: np.ndarray, episode_index: np.ndarray, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """Action chunks of several concatenated episodes.

    `actions`: (N, D). `episode_index`: (N,), non-decreasing. Returns the chunks (N, chunk, D) and a mask
    (N, chunk), as `chunks` does. No chunk extends into the next episode.
    """
    last = np.searchsorted(episode_index, episode_index, side="right") - 1  # (N,) last frame of the episode
    return chunks_at(actions, np.arange(len(actions)), last, chunk)


def chunks_at(
    actions: np.ndarray, frames: np.ndarray, last: np.ndarray, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """Action chunks that start at selected frames.

    `actions`: (N, D). `frames`: (B,), the first frame of each chunk. `last`: (B,), the last frame of each
    chunk's episode. Returns the chunks (B, chunk, D) and a mask (B, chunk). Reads only these rows.
    """
    steps = frames[:, None] + np.arange(chunk)[None, :]  # (B, chunk)
    mask = (steps <= last[:, None]).astype(np.float32)
    return actions[np.minimum(steps, last[:, None])], mask
