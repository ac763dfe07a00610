"""Read the gripper column of a dataset: check that it holds commands, and convert them to the benchmark's.

An absolute column has two values, which open and close the gripper. Some datasets store relative commands
instead: one value opens, one closes, and one, on most frames, changes nothing. Read as an absolute column,
the third value would be learnt as one of the other two, so such a column is refused unless `gripper` names
the value as `hold`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlm4vla.config.demonstrations import Demonstrations, GripperValues
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.core.errors import UserError
from vlm4vla.data.statistics import BLOCK

NEAR = 0.25  # fraction of the distance between two values by which a frame may miss one of them
# The largest fraction of frames that may have a value between two commands. A gripper that is recorded while
# it moves passes such values: about 0.3 s per move, of which half is further than NEAR from both ends. In
# Bridge (5 Hz, about 35 frames and two moves per episode), this is 4 % of the frames; other datasets have
# longer episodes. Of relative commands, most frames hold.
MOST_BETWEEN = 0.1
MOST_LISTED = 5  # different values that a message lists


@dataclass
class GripperColumn:
    """What a gripper column holds.

    `between`: the number of frames whose value is further than NEAR from every command. `values`: how many
    frames have each value, or None if there are more than MOST_LISTED different values.
    """

    frames: int = 0
    least: float = np.inf
    most: float = -np.inf
    between: int = 0
    values: Counter[float] | None = field(default_factory=Counter)

    def describe(self) -> str:
        """Return the values with their shares of the frames, in words."""
        if self.values is None:
            return f"more than {MOST_LISTED} different values from {self.least:g} to {self.most:g}"
        shares = [f"{value:g} in {count / self.frames:.1%}" for value, count in sorted(self.values.items())]
        return ", ".join(shares) + " of the frames"


def wanted_values(wanted: Demonstrations, benchmark: str) -> GripperValues:
    """Return the values that the column must have: those of `wanted.gripper`, or the benchmark's own."""
    own = gripper(benchmark)
    return wanted.gripper or GripperValues(open=own.open, close=own.close)


def read_column(column: np.ndarray, values: GripperValues) -> GripperColumn:
    """Survey a gripper column (N,), which may be memory-mapped, block by block."""
    found = GripperColumn()
    for start in range(0, len(column), BLOCK):
        part = np.asarray(column[start : start + BLOCK], dtype=np.float32)
        found.frames += len(part)
        found.least, found.most = min(found.least, float(part.min())), max(found.most, float(part.max()))
        found.between += int(_is_between(part, values).sum())
        if found.values is not None:
            values_here, counts = np.unique(part + np.float32(0), return_counts=True)  # turns -0 into 0
            found.values.update(dict(zip(values_here.tolist(), counts.tolist(), strict=True)))
            if len(found.values) > MOST_LISTED:
                found.values = None
    return found


def _levels(values: GripperValues) -> np.ndarray:
    """Return the values of all commands. The holding one comes first, so that it wins a tie."""
    return np.array([*([] if values.hold is None else [values.hold]), values.open, values.close])


def _is_between(column: np.ndarray, values: GripperValues) -> np.ndarray:
    """Return whether each value lies in the middle between two neighbouring commands."""
    levels = np.sort(_levels(values))
    upper = np.clip(np.searchsorted(levels, column), 1, len(levels) - 1)
    place = (column - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
    return (place > NEAR) & (place < 1 - NEAR)


def check_column(found: GripperColumn, wanted: Demonstrations, benchmark: str, source: str, key: str) -> None:
    """Raise UserError if the gripper column of the dataset `source` is not made of the expected commands.

    A column with the correct two values in the opposite meaning cannot be detected; set `gripper` to swap
    them.
    """
    _check_range(found.least, found.most, wanted, benchmark, source, key, found)
    if found.between > MOST_BETWEEN * found.frames:
        where = f"the last action column of {source} holds {found.describe()}"
        raise _not_commands(where, f"{found.between / found.frames:.1%}", found, wanted, benchmark, key)


def check_stated_column(
    stated: Mapping[str, Any], column: int, wanted: Demonstrations, benchmark: str, source: str, key: str
) -> None:
    """Do the checks of `check_column` that the statistics `stated` of an action in meta/ allow.

    `column`: index of the gripper in the action. Statistics that are missing or no numbers are not checked.
    """
    numbers = {name: _numbers(stated.get(name)) for name in _STATED}
    known = {name: float(each[column]) for name, each in numbers.items() if len(each) > column}
    known = {name: value for name, value in known.items() if np.isfinite(value)}
    if {"min", "max"} <= known.keys():
        _check_range(known["min"], known["max"], wanted, benchmark, source, key)
    values = wanted_values(wanted, benchmark)
    if len(known) == len(_STATED) and values.hold is None:
        least = _least_between(known["mean"], known["std"], values)
        if least > MOST_BETWEEN:
            where = f"the last action column of {source} has the mean {known['mean']:g} and the standard "
            where += f"deviation {known['std']:g}"
            raise _not_commands(where, f"at least {least:.1%}", None, wanted, benchmark, key)


_STATED = ("min", "max", "mean", "std")


def _numbers(values: Any) -> np.ndarray:
    """Return the numbers of a statistic, or none if it has anything else."""
    try:
        return np.asarray([] if values is None else values, dtype=float).ravel()
    except (TypeError, ValueError):
        return np.array([])


def _least_between(mean: float, std: float, values: GripperValues) -> float:
    """Return a lower bound of the fraction of frames between two commands, from their mean and deviation.

    With p = 0 and 1 at the two commands, p (1 - p) is at most 1/4, and at most NEAR (1 - NEAR) further away
    from the middle. The mean of p (1 - p) therefore bounds the number of frames in the middle from below.
    """
    spread = values.open - values.close
    centre = (mean - values.close) / spread
    product = centre - (std / spread) ** 2 - centre**2
    outside = NEAR * (1 - NEAR)
    return (product - outside) / (0.25 - outside)


def _owner(wanted: Demonstrations, benchmark: str, key: str) -> str:
    return f"`gripper` of {key}" if wanted.gripper else f"{benchmark}'s gripper"


def _check_range(
    least: float,
    most: float,
    wanted: Demonstrations,
    benchmark: str,
    source: str,
    key: str,
    found: GripperColumn | None = None,
) -> None:
    """Raise UserError if the range of the column is not the range of the commands.

    A set of relative commands need not contain both: in some datasets the gripper only closes.
    """
    values = wanted_values(wanted, benchmark)
    levels = _levels(values)
    low, high = float(levels.min()), float(levels.max())
    slack = NEAR * (high - low)
    inside = least >= low - slack and most <= high + slack
    reached = (least <= low + slack, most >= high - slack)
    if inside and (all(reached) if values.hold is None else any(reached)):
        return
    holds = "" if found is None else f"; it holds {found.describe()}"
    raise UserError(
        f"{key}.gripper: the last action column of {source} ranges from {least:g} to {most:g}, but "
        f"{_owner(wanted, benchmark, key)} ranges from {low:g} to {high:g} ({values.open:g} opens){holds}: "
        "write `gripper: {open: ..., close: ...}` with the values of the dataset (and `hold: ...` if one "
        "value changes nothing), or other action_columns"
    )


def _not_commands(
    where: str, share: str, found: GripperColumn | None, wanted: Demonstrations, benchmark: str, key: str
) -> UserError:
    values = wanted_values(wanted, benchmark)
    middle = "..."
    if found is not None and found.values is not None:
        between = [v for v in found.values if _is_between(np.array([v]), values)[0]]
        middle = f"{max(between, key=found.values.__getitem__):g}"
    levels = ", ".join(f"{level:g}" for level in np.sort(_levels(values)))
    if values.hold is not None:
        advice = "write the values of the dataset, or other action_columns"
    else:
        advice = (
            f"if these commands are relative, write `gripper: {{open: {values.open:g}, close: "
            f"{values.close:g}, hold: {middle}}}`, which lets them keep the last command (exchange open and "
            "close if the dataset closes at the former); otherwise write other action_columns, with a column "
            "of commands"
        )
    return UserError(
        f"{key}.gripper: {where}: {share} of the frames are between the commands of "
        f"{_owner(wanted, benchmark, key)} ({levels}), and neither open nor close: {advice}"
    )


@dataclass
class Converted:
    """What a conversion did: `held` frames took an earlier or later command of their episode.

    `without_command`: the number of episodes that have no command; their gripper stays open.
    """

    held: int = 0
    without_command: int = 0


def convert_column(
    column: np.ndarray, first: np.ndarray, wanted: Demonstrations, benchmark: str
) -> Converted:
    """Convert a gripper column (N,) float32 in place to the benchmark's values.

    `first` (E,): the first frame of each episode, in order. Without `wanted.gripper`, the dataset already
    follows the benchmark's convention.
    """
    own, values, result = gripper(benchmark), wanted.gripper, Converted()
    if values is None:
        return result
    if values.hold is None:
        for start in range(0, len(column), BLOCK):
            rows = slice(start, start + BLOCK)
            opening = (np.asarray(column[rows]) - values.close) / (values.open - values.close)  # 1 is open
            column[rows] = own.close + opening * (own.open - own.close)
        return result
    for rows in _episodes(first, len(column)):
        opens, held = absolute_commands(np.asarray(column[rows]), values)
        result.held += held
        result.without_command += held == len(opens)
        column[rows] = np.where(opens, own.open, own.close)
    return result


def _episodes(first: np.ndarray, count: int) -> Iterator[slice]:
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), count], strict=True):
        yield slice(begin, end)


def absolute_commands(relative: np.ndarray, values: GripperValues) -> tuple[np.ndarray, int]:
    """Convert the relative commands (T,) of one episode to states: whether the gripper is open, (T,) bool.

    Each frame is read as the nearest of the three values. A holding frame takes the last command before it.
    Before the first command, the gripper has the opposite state, because a command changes the state. An
    episode without a command is open. Also returns the number of holding frames.
    """
    levels = _levels(values)
    nearest = np.abs(relative[:, None].astype(np.float64) - levels).argmin(axis=1)
    places = np.flatnonzero(nearest)
    if not len(places):
        return np.ones(len(relative), dtype=bool), len(relative)
    opens = nearest[places] == 1
    last = np.searchsorted(places, np.arange(len(relative)), side="right") - 1
    return np.where(last >= 0, opens[np.maximum(last, 0)], ~opens[0]), len(relative) - len(places)
