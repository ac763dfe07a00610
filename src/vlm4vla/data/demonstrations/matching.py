"""Whether a data set's features are what a benchmark's policy learns from, and which of them are taken."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.conventions.actions import ACTION_NAMES, ACTION_SIZE, POSE_SIZE, Gripper
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.metadata import Metadata
from vlm4vla.data.lerobot.reader import ACTION, GRIPPER_POINT, IMAGE, STATE

JOINTS = ("joint", "motor", "shoulder", "elbow", "waist", "wrist")  # words in names of joints' angles
NEAR = 0.25  # share of the gripper's span by which its column may miss the two ends


@dataclass(frozen=True)
class Choice:
    """Features by name; `action_columns`: the seven numbers of `action` in the benchmark's order."""

    camera: str
    action: str
    action_columns: list[int]
    state: str | None
    gripper_point: str | None


def choose(metadata: Metadata, wanted: Demonstrations, key: str) -> Choice:
    """The features that config.yaml's `key` names, or the only ones there are.

    Raises UserError for one that is not there or cannot be what it should be.
    """
    features = metadata.features
    action = wanted.action or ACTION
    if action not in features:
        raise _unknown(f"{key}.action", action, features, metadata)
    columns = wanted.action_columns
    if columns is None:
        columns = list(range(ACTION_SIZE))
        if _width(features[action]) != ACTION_SIZE:
            raise UserError(
                f"{key}.action_columns: {action!r} of {metadata.folder} has {_width(features[action])} "
                f"numbers a frame, the benchmark's actions have {ACTION_SIZE} ({', '.join(ACTION_NAMES)}): "
                "write the places of those, counted from 0"
            )
    if len(columns) != ACTION_SIZE or max(columns) >= _width(features[action]):
        raise UserError(
            f"{key}.action_columns: {columns}: {action!r} of {metadata.folder} has "
            f"{_width(features[action])} numbers: write {ACTION_SIZE} places below that "
            f"({', '.join(ACTION_NAMES)})"
        )
    names = _names(features[action])
    chosen = [names[column] for column in columns] if len(names) == _width(features[action]) else []
    joints = [name for name in chosen if any(word in name.lower() for word in JOINTS)]
    if joints:
        raise UserError(
            f"{key}.action: {action!r} of {metadata.folder} holds {', '.join(joints)}: the benchmark's "
            f"actions are the end effector's motion ({', '.join(ACTION_NAMES)}): write a feature or "
            "action_columns that hold that"
        )
    state = wanted.state if wanted.state is not None else STATE if STATE in features else None
    if state is not None and state not in features:
        raise _unknown(f"{key}.state", state, features, metadata)
    point = GRIPPER_POINT if GRIPPER_POINT in features else None
    return Choice(_camera(metadata, wanted.camera, key), action, columns, state, point)


def _camera(metadata: Metadata, name: str | None, key: str) -> str:
    cameras = metadata.cameras()
    if not cameras:
        raise UserError(f"{metadata.folder}: has no pictures: write a data set with a camera")
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
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
    return UserError(f"{key}: {metadata.folder} has no feature {name!r}: {hint}")


def _width(feature: Mapping[str, Any]) -> int:
    return int(np.prod(feature.get("shape") or [1]))


def _names(feature: Mapping[str, Any]) -> list[str]:
    """Names of a feature's numbers; versions keep them as a list, or below some word."""
    names = feature.get("names")
    if isinstance(names, Mapping):
        names = next((value for value in names.values() if isinstance(value, list)), [])
    return [str(name) for name in names or []]


def to_benchmark(actions: np.ndarray, wanted: Demonstrations, benchmark: str) -> np.ndarray:
    """Actions (n, 7) of the data set, float32, with the gripper's values in the benchmark's convention."""
    own, given = gripper(benchmark), wanted.gripper
    if given is None:
        return actions
    actions = actions.copy()
    share = (actions[:, POSE_SIZE] - given.close) / (given.open - given.close)  # 0 closed, 1 open
    actions[:, POSE_SIZE] = own.close + share * (own.open - own.close)
    return actions


def check_gripper(
    least: float, most: float, wanted: Demonstrations, benchmark: str, source: str, key: str
) -> None:
    """Refuse a gripper column of the data set that runs from `least` to `most`, and should elsewhere.

    A column with the right two values in the other order cannot be told: `gripper` turns it round.
    """
    given = wanted.gripper
    values = Gripper(given.open, given.close) if given else gripper(benchmark)
    whose = f"`gripper` of {key}" if given else f"{benchmark}'s gripper"
    slack = NEAR * (values.high - values.low)
    if abs(least - values.low) > slack or abs(most - values.high) > slack:
        raise UserError(
            f"{key}.gripper: the last action column of {source} runs from {least:g} to {most:g}, and {whose} "
            f"from {values.low:g} to {values.high:g} ({values.open:g} opens): write "
            "`gripper: {open: ..., close: ...}` with the data set's own values, or other action_columns"
        )


def check_stated_gripper(
    metadata: Metadata, choice: Choice, wanted: Demonstrations, benchmark: str, key: str
) -> None:
    """The same by what meta/ says of the column, before its frames are there; nothing where it does not."""
    stated = ((metadata.stats() or {}).get(choice.action)) or {}
    place = choice.action_columns[POSE_SIZE]
    ends = [np.asarray(stated.get(name, []), dtype=float).ravel() for name in ("min", "max")]
    if all(len(each) > place for each in ends):
        least, most = (float(each[place]) for each in ends)
        check_gripper(least, most, wanted, benchmark, f"{metadata.folder}, says its meta/,", key)


def check_bounds(stats: Mapping[str, Any], bounds: tuple[float, float], source: str, key: str) -> None:
    """Refuse `bounds` that most of a motion's numbers lie beyond: the data is in other units."""
    low, high = bounds
    for name, q10, q90 in zip(ACTION_NAMES[:POSE_SIZE], stats["q10"], stats["q90"], strict=False):
        if q90 <= low or q10 >= high:
            raise UserError(
                f"{key}.bounds: {list(bounds)}, but most of {source}'s {name} lies between {q10:g} and "
                f"{q90:g}: write bounds in the data set's units"
            )


def check_statistics(stated: Mapping[str, Any], counted: Mapping[str, Any], where: str) -> None:
    """Refuse statistics of an action (`stated`) that the frames' own (`counted`) contradict."""
    for name in ("min", "max", "q01", "q99"):
        if name not in stated:
            continue
        one, two = (np.asarray(stats[name], dtype=float).ravel() for stats in (stated, counted))
        wide = np.asarray(counted["max"], dtype=float) - np.asarray(counted["min"], dtype=float)
        # Quantiles of a merged data set are bounds at best; they must lie within the data all the same.
        far = np.inf
        if one.shape == two.shape:
            if name in ("min", "max"):
                far = np.abs(one - two) - 1e-3 * wide - 1e-6
            else:
                slack = 1e-3 * wide + 1e-6
                outside = np.maximum(np.asarray(counted["min"]) - one, one - np.asarray(counted["max"]))
                far = outside - slack
        if np.any(far > 0):
            column = int(np.argmax(np.broadcast_to(far, two.shape)))
            says = f"{one[column]:g}" if one.shape == two.shape else f"{len(one)} numbers"
            raise UserError(
                f"{where}: action {name} of number {column} is {says}, the frames' is {two[column]:g}: these "
                "are statistics of another data set: take `statistics: data`, or write them anew"
            )
