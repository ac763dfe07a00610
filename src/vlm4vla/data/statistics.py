"""Statistics of columns and of images, with the keys of LeRobot's stats.json.

`column_statistics` streams a column that does not fit into memory and still returns exact quantiles. It reads
the column twice, in blocks, and maps each float32 to an unsigned integer with the same order. A histogram of
the upper 16 bits finds the bin that holds the k-th smallest number. A second histogram, of the lower 16 bits
within that bin, finds the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
MERGED = ("min", "max", "mean", "std", "count")  # the keys that `merge_statistics` can compute
BLOCK = 1 << 16  # rows of a block
BINS = 1 << 16  # values of 16 bits
SIGN = np.uint32(1 << 31)


def column_statistics(values: np.ndarray, block: int = BLOCK) -> dict[str, list[Any]]:
    """Return statistics over the first axis of `values`, (N, D) float32, finite, with N above 0.

    Quantiles are NumPy's of the method `linear`. Memory use does not grow with N: it is one block, and some
    megabytes per column.
    """
    count, width = values.shape
    positions = [share * (count - 1) for share in QUANTILES.values()]
    ranks = sorted({int(np.floor(p)) for p in positions} | {int(np.ceil(p)) for p in positions})
    upper = np.zeros((width, BINS), dtype=np.int64)
    total = np.zeros(width)
    for rows in _blocks(values, block):
        total += rows.sum(0, dtype=np.float64)
        high = (_ordered(rows) >> 16).astype(np.int64)
        for column in range(width):
            upper[column] += np.bincount(high[:, column], minlength=BINS)
    mean = total / count
    cumulative = upper.cumsum(1)  # (D, BINS) numbers up to and including each bin
    bins = np.stack([np.searchsorted(cumulative[column], ranks, side="right") for column in range(width)])
    lower = {
        (column, int(bin_)): np.zeros(BINS, dtype=np.int64)
        for column in range(width)
        for bin_ in np.unique(bins[column])
    }
    squares = np.zeros(width)
    for rows in _blocks(values, block):
        squares += ((rows - mean) ** 2).sum(0)
        keys = _ordered(rows)
        for (column, bin_), histogram in lower.items():
            own = keys[:, column]
            histogram += np.bincount(own[own >> 16 == bin_] & np.uint32(BINS - 1), minlength=BINS)
    ranked = np.empty((len(ranks), width))  # the number of each rank
    for column in range(width):
        for row, (rank, bin_) in enumerate(zip(ranks, bins[column], strict=True)):
            before = cumulative[column, bin_] - upper[column, bin_]
            low = np.searchsorted(lower[column, int(bin_)].cumsum(), rank - before, side="right")
            ranked[row, column] = _number((int(bin_) << 16) | int(low))
    record = {
        "min": _extreme(values, block, np.min),
        "max": _extreme(values, block, np.max),
        "mean": mean,
        "std": np.sqrt(squares / count),
    }
    row_of_rank = {rank: row for row, rank in enumerate(ranks)}
    for name, position in zip(QUANTILES, positions, strict=True):
        low, high = (ranked[row_of_rank[int(end(position))]] for end in (np.floor, np.ceil))
        record[name] = low + (high - low) * (position - np.floor(position))
    return {key: part.tolist() for key, part in record.items()} | {"count": [count]}


def _extreme(values: np.ndarray, block: int, reduce: Any) -> np.ndarray:
    return reduce([reduce(rows, axis=0) for rows in _blocks(values, block)], axis=0).astype(np.float64)


def _blocks(values: np.ndarray, block: int) -> Iterator[np.ndarray]:
    for start in range(0, len(values), block):
        yield np.asarray(values[start : start + block], dtype=np.float32)


def _ordered(rows: np.ndarray) -> np.ndarray:
    """Map float32 `rows` to uint32 with the same order."""
    bits = (rows + np.float32(0)).view(np.uint32)  # adding 0 turns -0 into 0
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _number(key: int) -> float:
    """Return the float32 that `_ordered` maps to `key`."""
    bits = key & ~(1 << 31) if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))


def array_statistics(values: np.ndarray) -> dict[str, list[Any]]:
    """Return statistics over the first axis of `values`, (N,) or (N, D), in memory and in float64."""
    values = values.reshape(len(values), -1).astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    record = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    record |= dict(zip(QUANTILES, quantiles, strict=True))
    return {key: part.tolist() for key, part in record.items()} | {"count": [len(values)]}


def count_levels(images: np.ndarray) -> np.ndarray:
    """Count how often each value occurs in each channel of `images` (T, H, W, 3) uint8: (3, 256) int64."""
    return np.stack([np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)])


def pixel_statistics(levels: np.ndarray, frames: int) -> dict[str, list[Any]]:
    """Return statistics of pixels in [0, 1] per channel, shaped (3, 1, 1).

    `levels` (3, 256): the sum of `count_levels` over all images. `frames`: number of images.
    """
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


def merge_statistics(parts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Merge the statistics of parts into those of the whole, feature by feature, as lists.

    The result has the keys `MERGED` only: the quantiles of a whole do not follow from those of its parts.
    `std` is the one of all values. It combines the variances of the parts with the spread of their means.
    """
    sums: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, record in part.items():
            if not all(key in record for key in MERGED):
                continue
            least, most, mean, std = (np.asarray(record[key], dtype=float) for key in MERGED[:4])
            count = float(np.ravel(record["count"])[0])
            own = {"min": least, "max": most, "count": count, "sum": count * mean}
            own["squares"] = count * (std**2 + mean**2)
            before = sums.get(name)
            if before is None:
                sums[name] = own
            else:
                before["min"] = np.minimum(before["min"], least)
                before["max"] = np.maximum(before["max"], most)
                for key in ("count", "sum", "squares"):
                    before[key] = before[key] + own[key]
    merged = {}
    for name, own in sums.items():
        mean = own["sum"] / own["count"]
        std = np.sqrt(np.maximum(own["squares"] / own["count"] - mean**2, 0))
        values = {"min": own["min"], "max": own["max"], "mean": mean, "std": std}
        merged[name] = {key: value.tolist() for key, value in values.items()} | {"count": [int(own["count"])]}
    return merged
