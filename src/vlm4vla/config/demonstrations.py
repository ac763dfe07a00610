"""The source of a benchmark's demonstrations: a scripted expert, or a LeRobot dataset."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Fraction, Positive, Seed, Strict

DATASET_KEYS = (
    "revision",
    "camera",
    "action",
    "action_columns",
    "state",
    "gripper",
    "bounds",
    "keep_range",
    "statistics",
)
MOTION_NAMES = Literal["x", "y", "z", "roll", "pitch", "yaw"]


def _is_unset(value: Any) -> bool:
    """Whether a key stays out of the JSON, so that recorded demonstrations have no keys of datasets."""
    return value is None


class GripperValues(Strict):
    """The dataset's gripper values for open and closed. They are converted to the benchmark's values.

    With `hold`, the commands are relative: `open` and `close` change the gripper's state, and `hold` keeps
    it (data/demonstrations/gripper_commands.py).
    """

    open: float = Field(description="The value in the dataset that means open.")
    close: float = Field(description="The value in the dataset that means closed.")
    hold: float | None = Field(
        None,
        exclude_if=_is_unset,
        description="The value of relative commands that change nothing. It is replaced by the last command "
        "of its episode; before the first command, by the opposite of the first command.",
    )

    @model_validator(mode="after")
    def _differ(self) -> GripperValues:
        if self.open == self.close:
            raise ValueError(f"open and close are both {self.open:g}: write the dataset's two values")
        if self.hold in (self.open, self.close):
            raise ValueError(
                f"hold is {self.hold:g}, and so is {'open' if self.hold == self.open else 'close'}: write "
                "the value of the commands that change nothing, or remove hold"
            )
        return self


class Demonstrations(Strict):
    """Demonstrations: `episodes` of the scripted expert, or a LeRobot `dataset`.

    With a `dataset`, the keys `episodes`, `noise` and `seed` are ignored. docs/demonstrations.md has
    examples.
    """

    episodes: Positive | None = Field(
        None,
        description="Number of episodes that are recorded. On MetaWorld: of each task, with the package's "
        "own experts.",
    )
    noise: Fraction | None = Field(
        None, description="Fraction of the steps in which the motion of the scripted expert is disturbed."
    )
    seed: Seed = Field(0, description="Seed of the recorded episodes.")
    dataset: str | None = Field(
        None,
        exclude_if=_is_unset,
        description="A LeRobot dataset (v2.0, v2.1 or v3.0): a local folder, or (with `revision`) the name "
        "of a dataset on the Hugging Face hub.",
    )
    revision: str | None = Field(None, exclude_if=_is_unset, description="Commit, tag or branch on the hub.")
    camera: str | None = Field(
        None,
        exclude_if=_is_unset,
        description="Feature with the images. Required if the dataset has several cameras.",
    )
    action: str | None = Field(
        None, exclude_if=_is_unset, description="Feature with the actions. The default is `action`."
    )
    action_columns: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        exclude_if=_is_unset,
        description="Indices of x, y, z, roll, pitch, yaw and gripper in the action feature, starting at 0.",
    )
    state: str | None = Field(
        None,
        exclude_if=_is_unset,
        description="Feature with the robot's state. The default is `observation.state`, if it exists.",
    )
    gripper: GripperValues | None = Field(
        None,
        exclude_if=_is_unset,
        description="The dataset's gripper values, if they differ from those of the benchmark.",
    )
    bounds: tuple[float, float] | None = Field(
        None,
        exclude_if=_is_unset,
        description="Lower and upper bounds of the six motion dimensions, in the dataset's units. For "
        "normalisation, they replace the minimum and maximum.",
    )
    keep_range: Annotated[list[MOTION_NAMES], Field(min_length=1)] | None = Field(
        None,
        exclude_if=_is_unset,
        description="Motion dimensions whose 1st and 99th percentiles are replaced by their minimum and "
        "maximum, so that `normalisation: quantile` keeps rare motion.",
    )
    statistics: Literal["data", "meta"] | None = Field(
        None,
        exclude_if=_is_unset,
        description="Source of the action statistics: computed over all frames (`data`, the default), or "
        "read from the dataset's meta/ (`meta`).",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Demonstrations:
        if self.dataset is not None:
            if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
                raise ValueError(f"bounds {list(self.bounds)}: write the lower bound first")
            return self
        for key in ("episodes", "noise"):
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing: add it, or write `dataset: <folder>`")
        for key in DATASET_KEYS:
            if getattr(self, key) is not None:
                raise ValueError(f"{key} needs a `dataset`: add `dataset`, or remove {key}")
        return self

    def without_unused_keys(self) -> Demonstrations:
        """A copy with the keys that are read. With a dataset, the keys of the scripted expert are unset."""
        if self.dataset is None:
            return self
        return self.model_copy(update={"episodes": None, "noise": None, "seed": 0})
