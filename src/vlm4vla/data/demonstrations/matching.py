"""Choose the features of a dataset that a benchmark's policy learns from, and check that they fit it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.conventions.actions import ACTION_NAMES, ACTION_SIZE, POSE_SIZE
from vlm4vla.core.errors import UserError, suggestion
from vlm4vla.data.demonstrations.gripper_commands import check_stated_column
from vlm4vla.data.lerobot.metadata import Metadata
from vlm4vla.data.lerobot.reader import ACTION, GRIPPER_POINT, IMAGE, STATE

OUTSIDE = 0.04  # share of the frames outside the 1st and 99th percentiles, twice what it should be
JOINTS = ("joint", "motor", "shoulder", "elbow", "waist", "wrist")  # words in the names of joint angles


@dataclass(frozen=True)
class FeatureChoice:
    """The names of the chosen features. `action_columns`: indices into `action`, in the benchmark's order."""

    camera: str
    action: str
    action_columns: list[int]
    state: str | None
    gripper_point: str | None


def choose(metadata: Metadata, wanted: Demonstrations, key: str) -> FeatureChoice:
    """Return the features that `wanted` names, or the default ones where it names none.

    `key`: the key of config.yaml that contains `wanted`, for messages. Raises UserError for a feature that
    does not exist or does not fit the benchmark, and if there is no unique default.
    """
    features = metadata.features
    action = wanted.action or ACTION
    if action not in features:
        raise _unknown(f"{key}.action", action, features, metadata)
    columns, width = wanted.action_columns, feature_width(features[action])
    if columns is None:
        columns = list(range(ACTION_SIZE))
        if width != ACTION_SIZE:
            raise UserError(
                f"{key}.action_columns: {action!r} of {metadata.folder} has {width} "
                f"numbers per frame, but the benchmark's actions have {ACTION_SIZE} "
                f"({', '.join(ACTION_NAMES)}): write the indices of these, counted from 0"
            )
    if len(columns) != ACTION_SIZE or max(columns) >= width:
        raise UserError(
            f"{key}.action_columns: {columns}: {action!r} of {metadata.folder} has "
            f"{width} numbers: write {ACTION_SIZE} indices from 0 to "
            f"{width - 1} ({', '.join(ACTION_NAMES)})"
        )
    names = _names(features[action])
    chosen = [names[column] for column in columns] if len(names) == width else []
    joints = [name for name in chosen if any(word in name.lower() for word in JOINTS)]
    if joints:
        raise UserError(
            f"{key}.action: {action!r} of {metadata.folder} contains {', '.join(joints)}, but the "
            f"benchmark's actions are motions of the end effector ({', '.join(ACTION_NAMES)}): write another "
            "feature or other action_columns"
        )
    state = wanted.state if wanted.state is not None else STATE if STATE in features else None
    if state is not None and state not in features:
        raise _unknown(f"{key}.state", state, features, metadata)
    point = GRIPPER_POINT if GRIPPER_POINT in features else None
    return FeatureChoice(_camera(metadata, wanted.camera, key), action, columns, state, point)


def _camera(metadata: Metadata, name: str | None, key: str) -> str:
    cameras = metadata.cameras()
    if not cameras:
        raise UserError(f"{metadata.folder}: has no images: write a dataset with a camera")
    if name is None:
        if IMAGE in cameras:
            return IMAGE
        if len(cameras) > 1:
            raise UserError(
                f"{key}.camera: {metadata.folder} has several cameras: write one of {', '.join(cameras)}"
            )
        return cameras[0]
    if name not in cameras:
        raise _unknown(f"{key}.camera", name, cameras, metadata)
    return name


def _unknown(key: str, name: str, known: Iterable[str], metadata: Metadata) -> UserError:
    return UserError(f"{key}: {metadata.folder} has no feature {name!r}: {suggestion(name, known)}")


def feature_width(feature: Mapping[str, Any]) -> int:
    """Return how many numbers a feature has per frame, by its description in info.json."""
    return int(np.prod(feature.get("shape") or [1]))


def _names(feature: Mapping[str, Any]) -> list[str]:
    """Return the names of a feature's numbers. Some versions have a list, others a mapping with the list."""
    names = feature.get("names")
    if isinstance(names, Mapping):
        names = next((value for value in names.values() if isinstance(value, list)), [])
    return [str(name) for name in names or []]


def check_stated_gripper(
    metadata: Metadata, choice: FeatureChoice, wanted: Demonstrations, benchmark: str, key: str
) -> None:
    """Check the gripper's values with the statistics in meta/, before the frames are downloaded.

    Without such statistics, nothing is checked.
    """
    stated = feature_statistics(metadata.stats(), choice.action)
    column, source = choice.action_columns[POSE_SIZE], f"{metadata.folder} (by its meta/)"
    check_stated_column(stated, column, wanted, benchmark, source, key)


def feature_statistics(stats: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    """Return the statistics of one feature in the content of stats.json, or {} if there are none."""
    found = (stats or {}).get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def narrow_percentiles(actions: np.ndarray, stats: Mapping[str, Any]) -> dict[str, float]:
    """Return the motion columns with more than `OUTSIDE` of the frames outside `q01` to `q99` of `stats`.

    `actions`: (N, 7). The values are these shares, between 0 and 1. LeRobot's stats.json has the means of the
    episodes' percentiles, which are narrower than the percentiles of all frames.
    """
    least, most = (np.asarray(stats[name][:POSE_SIZE]) for name in ("q01", "q99"))
    motion = actions[:, :POSE_SIZE]
    slack = 1e-6 * (np.abs(least) + np.abs(most))  # float32 columns and float64 percentiles
    shares = ((motion < least - slack) | (motion > most + slack)).mean(axis=0)
    return {
        name: float(share)
        for name, share in zip(ACTION_NAMES[:POSE_SIZE], shares, strict=True)
        if share > OUTSIDE
    }


def check_bounds(stats: Mapping[str, Any], bounds: tuple[float, float], source: str, key: str) -> None:
    """Raise UserError if most values of a motion are outside `bounds`: then the data has other units."""
    low, high = bounds
    for name, q10, q90 in zip(ACTION_NAMES[:POSE_SIZE], stats["q10"], stats["q90"], strict=False):
        if q90 <= low or q10 >= high:
            raise UserError(
                f"{key}.bounds: {list(bounds)}, but most values of {name} in {source} are between {q10:g} "
                f"and {q90:g}: write the bounds in the units of the dataset"
            )


def check_statistics(stated: Mapping[str, Any], computed: Mapping[str, Any], where: str) -> None:
    """Raise UserError if `stated` statistics of an action contradict those `computed` from the frames."""
    for name in ("min", "max", "q01", "q99"):
        if name not in stated:
            continue
        one, two = (np.asarray(stats[name], dtype=float).ravel() for stats in (stated, computed))
        least, most = (np.asarray(computed[end], dtype=float) for end in ("min", "max"))
        slack = 1e-3 * (most - least) + 1e-6
        excess = np.inf  # by how much the difference exceeds the slack
        if one.shape == two.shape:
            # Quantiles of a merged dataset are bounds at best, so only those outside the data are wrong.
            away = np.abs(one - two) if name in ("min", "max") else np.maximum(least - one, one - most)
            excess = away - slack
        if np.any(excess > 0):
            column = int(np.argmax(np.broadcast_to(excess, two.shape)))
            value = f"{one[column]:g}" if one.shape == two.shape else f"{len(one)} numbers"
            raise UserError(
                f"{where}: {name} of action number {column} is {value}, but the frames have {two[column]:g}, "
                "so these are statistics of another dataset: write `statistics: data`, or compute them again"
            )
