"""Statistics of columns that need not fit into memory, with exact quantiles.

Read in blocks, twice. The order of float32 numbers is that of an integer made of their bits: a histogram of
the upper 16 bits says which of its bins holds the k-th smallest number, and one of the lower 16 bits within
that bin says which number it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
BLOCK = 1 << 16  # rows read at once
BINS = 1 << 16
SIGN = np.uint32(1 << 31)


def summary(values: np.ndarray, block: int = BLOCK) -> dict[str, list[Any]]:
    """Statistics over the first axis of (N, D) float32, finite, N above 0, named as in LeRobot's stats.json.

    Quantiles are numpy's of kind `linear`. Memory: a block, and some megabytes a column, whatever N.
    """
    count, width = values.shape
    wanted = [share * (count - 1) for share in QUANTILES.values()]
    ranks = sorted({int(np.floor(place)) for place in wanted} | {int(np.ceil(place)) for place in wanted})
    upper = np.zeros((width, BINS), dtype=np.int64)
    total = np.zeros(width)
    for rows in _blocks(values, block):
        total += rows.sum(0, dtype=np.float64)
        high = (_ordered(rows) >> 16).astype(np.int64)
        for column in range(width):
            upper[column] += np.bincount(high[:, column], minlength=BINS)
    mean = total / count
    filled = upper.cumsum(1)  # (D, BINS) numbers up to and with each bin
    bins = np.stack([np.searchsorted(filled[column], ranks, side="right") for column in range(width)])
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
    found = np.empty((len(ranks), width))  # the number of each rank
    for column in range(width):
        for row, (rank, bin_) in enumerate(zip(ranks, bins[column], strict=True)):
            before = filled[column, bin_] - upper[column, bin_]
            low = np.searchsorted(lower[column, int(bin_)].cumsum(), rank - before, side="right")
            found[row, column] = _number((int(bin_) << 16) | int(low))
    record = {
        "min": _extreme(values, block, np.min),
        "max": _extreme(values, block, np.max),
        "mean": mean,
        "std": np.sqrt(squares / count),
    }
    places = {rank: row for row, rank in enumerate(ranks)}
    for name, place in zip(QUANTILES, wanted, strict=True):
        low, high = found[places[int(np.floor(place))]], found[places[int(np.ceil(place))]]
        record[name] = low + (high - low) * (place - np.floor(place))
    return {key: part.tolist() for key, part in record.items()} | {"count": [count]}


def _extreme(values: np.ndarray, block: int, which: Any) -> np.ndarray:
    return which([which(rows, axis=0) for rows in _blocks(values, block)], axis=0).astype(np.float64)


def _blocks(values: np.ndarray, block: int) -> Iterator[np.ndarray]:
    for start in range(0, len(values), block):
        yield np.asarray(values[start : start + block], dtype=np.float32)


def _ordered(rows: np.ndarray) -> np.ndarray:
    """uint32 that are ordered as the float32 `rows` are."""
    bits = (rows + np.float32(0)).view(np.uint32)  # -0 is 0
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _number(key: int) -> float:
    """The float32 that `_ordered` makes `key` of."""
    bits = key & ~(1 << 31) if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))
