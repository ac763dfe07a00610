"""Scaling of the robot's state, from a data set's own statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError

STILL = 1e-6  # a number whose deviation is smaller does not move: it is only centred


@dataclass(frozen=True)
class StateScale:
    """`mean`, `std` (S,) float32, in the state's own units."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def from_stats(cls, stats: Mapping[str, Any]) -> StateScale:
        """From a LeRobot stats.json; UserError when it says nothing of observation.state."""
        state = stats.get("observation.state", {})
        mean, std = (np.asarray(state.get(key, []), dtype=np.float32) for key in ("mean", "std"))
        if not mean.size or mean.shape != std.shape or not np.isfinite([mean, std]).all():
            raise UserError(
                "meta/stats.json: observation.state needs `mean` and `std` of equal length for a policy that "
                "reads the robot's state: write the data set's statistics anew"
            )
        return cls(mean, std)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StateScale:
        """The inverse of `to_json`."""
        return cls(*(np.asarray(record[key], dtype=np.float32) for key in ("mean", "std")))

    def to_json(self) -> dict[str, Any]:
        """A record of JSON values for policy.json."""
        return {"mean": [float(v) for v in self.mean], "std": [float(v) for v in self.std]}

    @property
    def size(self) -> int:
        return len(self.mean)

    def scale(self, states: np.ndarray) -> np.ndarray:
        """States (..., S) with mean 0 and deviation 1, float32."""
        return ((states - self.mean) / np.where(self.std > STILL, self.std, 1)).astype(np.float32)
