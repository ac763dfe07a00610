"""Where a benchmark's demonstrations come from: scripted experts, or a LeRobot data set."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Fraction, Positive, Strict


def _unset(value: Any) -> bool:
    """Keys of data sets stay out of the settings of demonstrations that are recorded here."""
    return value is None


class GripperValues(Strict):
    """What the gripper's column holds in a data set; the benchmark's own values take their place."""

    open: float
    close: float

    @model_validator(mode="after")
    def _differ(self) -> GripperValues:
        if self.open == self.close:
            raise ValueError(f"open and close are both {self.open:g}: write the data set's two values")
        return self


class Demonstrations(Strict):
    """`episodes` recorded by the scripted expert; or a `dataset`, a folder, or with `revision` a hub name.

    A layer cannot take keys away: with a `dataset`, `episodes`, `noise` and `seed` are not read.
    """

    episodes: Positive | None = None
    noise: Fraction | None = None  # share of steps at which the expert's motion is disturbed
    seed: int = 0
    dataset: str | None = Field(None, exclude_if=_unset)
    revision: str | None = Field(None, exclude_if=_unset)
    camera: str | None = Field(None, exclude_if=_unset)  # the feature with the pictures
    action: str | None = Field(None, exclude_if=_unset)  # the feature with the actions; by default `action`
    action_columns: list[Annotated[int, Field(ge=0)]] | None = Field(None, exclude_if=_unset)
    state: str | None = Field(None, exclude_if=_unset)  # by default `observation.state`, if there is one
    gripper: GripperValues | None = Field(None, exclude_if=_unset)
    bounds: tuple[float, float] | None = Field(None, exclude_if=_unset)  # of motion, in place of its range
    statistics: Literal["data", "meta"] | None = Field(None, exclude_if=_unset)  # counted, or as meta/ says

    @model_validator(mode="after")
    def _one_source(self) -> Demonstrations:
        if self.dataset is not None:
            if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
                raise ValueError(f"bounds {list(self.bounds)}: write the lower one first")
            return self
        for key in ("episodes", "noise"):
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing: write it, or `dataset: <folder>`")
        for key in OF_A_DATASET:
            if getattr(self, key) is not None:
                raise ValueError(f"{key} belongs to a `dataset`: write that too, or leave {key} out")
        return self

    def without_recording(self) -> Demonstrations:
        """Only the keys that are read: with a data set, none of the expert's."""
        if self.dataset is None:
            return self
        return self.model_copy(update={"episodes": None, "noise": None, "seed": 0})


OF_A_DATASET = ("revision", "camera", "action", "action_columns", "state", "gripper", "bounds", "statistics")
