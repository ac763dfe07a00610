"""Motion that normalisation by percentiles loses, because it is rarer than the percentiles.

`normalisation: quantile` clips each motion to its 1st and 99th percentile. A motion that the robot uses in
fewer than 1 % of the frames (such as a rotation in one phase of one task) then disappears: the percentiles
are those of its rest. `demonstrations.keep_range` keeps the whole range of a column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vlm4vla.actions.normalisation import CONSTANT_SPREAD
from vlm4vla.conventions.actions import ACTION_NAMES, POSE_SIZE
from vlm4vla.data.statistics import BLOCK

# Report a column of which the percentiles keep less than this fraction of the range. Of 100,000 values, they
# keep about 50 % of the range for a normal and 33 % for a Laplace distribution, which has the heavy tails of
# teleoperated motion. Neither is rare motion.
LEAST_KEPT = 0.3


@dataclass(frozen=True)
class RareMotion:
    """A column that loses motion between its minimum and maximum and the percentiles `q01` and `q99`.

    `frames`: the fraction of frames that change. `largest`: the largest change, as a fraction of the range.
    """

    min: float
    max: float
    q01: float
    q99: float
    frames: float
    largest: float

    @property
    def is_erased(self) -> bool:
        """Whether the column is constant after normalisation."""
        return self.q99 - self.q01 <= CONSTANT_SPREAD

    def describe(self, name: str) -> str:
        """Return one sentence about the column `name`."""
        at = f"{self.q01:g}" if self.is_erased else f"{self.q01:g} to {self.q99:g}"
        what = "erases" if self.is_erased else "clips"
        return (
            f"`normalisation: quantile` {what} {name}: it ranges from {self.min:g} to {self.max:g}, but its "
            f"1st and 99th percentiles are {at}; {self.frames:.2%} of the frames change, by up to "
            f"{self.largest:.0%} of the range"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values for provenance.json."""
        return asdict(self) | {"erased": self.is_erased}


def rare_motion(actions: np.ndarray, stats: Mapping[str, Any]) -> dict[str, RareMotion]:
    """Return the motion columns of `actions` (N, 7) that lose more than noise, by their names.

    `stats`: the statistics of the actions, with the keys of LeRobot's stats.json.
    """
    least, most, low, high = (
        np.asarray(stats[key][:POSE_SIZE], dtype=np.float64) for key in ("min", "max", "q01", "q99")
    )
    spread = most - least
    rare = np.flatnonzero((spread > CONSTANT_SPREAD) & (high - low < LEAST_KEPT * spread))
    changed, largest = np.zeros(POSE_SIZE), np.zeros(POSE_SIZE)
    for start in range(0, len(actions) if len(rare) else 0, BLOCK):
        part = np.asarray(actions[start : start + BLOCK, :POSE_SIZE], dtype=np.float64)
        excess = np.abs(part - np.clip(part, low, high))
        changed += (excess > CONSTANT_SPREAD).sum(axis=0)
        largest = np.maximum(largest, excess.max(axis=0))
    return {
        ACTION_NAMES[column]: RareMotion(
            *(float(each[column]) for each in (least, most, low, high)),
            float(changed[column] / len(actions)),
            float(largest[column] / spread[column]),
        )
        for column in rare.tolist()
    }


def keep_ranges(stats: dict[str, Any], names: Collection[str]) -> None:
    """In `stats`, replace the percentiles q01 and q99 of the columns `names` by their minimum and maximum."""
    for name in names:
        column = ACTION_NAMES.index(name)
        for percentile, end in (("q01", "min"), ("q99", "max")):
            stats[percentile][column] = stats[end][column]
