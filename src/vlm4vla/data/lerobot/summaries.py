"""Statistics of what is written, as LeRobot's stats.json names them."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm4vla.data.quantiles import QUANTILES


def summarise(values: np.ndarray) -> dict[str, list[Any]]:
    """Statistics over the first axis of (N,) or (N, D)."""
    values = values.reshape(len(values), -1).astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    record = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    record |= dict(zip(QUANTILES, quantiles, strict=True))
    return {key: part.tolist() for key, part in record.items()} | {"count": [len(values)]}


def levels_of(images: np.ndarray) -> np.ndarray:
    """How often each value of each channel is in pictures (T, H, W, 3) uint8: (3, 256) int64."""
    return np.stack([np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)])


def summarise_pixels(levels: np.ndarray, frames: int) -> dict[str, list[Any]]:
    """Statistics of pixels in [0, 1] per channel, shaped (3, 1, 1), from `levels_of` (3, 256)."""
    scale = np.arange(256) / 255
    weights = levels / levels.sum(1, keepdims=True)
    mean = weights @ scale
    cumulative = weights.cumsum(1)
    record = {
        "min": [scale[row > 0][0] for row in levels],
        "max": [scale[row > 0][-1] for row in levels],
        "mean": mean,
        "std": np.sqrt(np.maximum(weights @ scale**2 - mean**2, 0)),
    }
    for name, share in QUANTILES.items():
        record[name] = [scale[min(int(np.searchsorted(row, share)), 255)] for row in cumulative]
    return {key: np.reshape(part, (3, 1, 1)).tolist() for key, part in record.items()} | {"count": [frames]}


def flat(stats: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Columns of meta/episodes: `stats/FEATURE/KEY`."""
    return {f"stats/{name}/{key}": value for name, record in stats.items() for key, value in record.items()}
