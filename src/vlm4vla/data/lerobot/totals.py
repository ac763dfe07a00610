"""Compare the totals in info.json with what a dataset contains, so that a part is never taken for the whole.

LeRobot writes `total_episodes`, `total_frames` and `total_tasks`; other tools may write none. A snapshot that
lacks its last files is consistent in itself, and only these totals show that it is incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import outside
from vlm4vla.data.parquet import PARQUET_FAULTS

SHOWN = 3  # files or ranges that a message lists
_AGAIN = "download the dataset again, or write it again"


def check_totals(folder: Path, info: Mapping[str, Any], index: np.ndarray, frames: int, tasks: int) -> None:
    """Raise UserError if the totals in info.json differ from those of the other files in meta/.

    `index`: (E,) the numbers of the episodes. `frames`: the sum of their lengths. `tasks`: the number of rows
    of the table of instructions. Totals that info.json does not have are not compared.
    """
    path = folder / "meta" / "info.json"
    stated = {name: _total(path, info, f"total_{name}") for name in ("episodes", "frames", "tasks")}
    if stated["episodes"] is None:
        stated["episodes"] = _end_of_splits(info)
    found = {"episodes": len(index), "frames": frames, "tasks": tasks}
    differ = [name for name, total in stated.items() if total is not None and total != found[name]]
    if not differ:
        return
    says = " and ".join(f"{stated[name]} {name}" for name in differ)
    has = " and ".join(f"{found[name]} {name}" for name in differ)
    missing, total = "", stated["episodes"]
    if total is not None and total > len(index):
        numbers = np.setdiff1d(np.arange(total), index)
        missing = f"; missing: {'episode' if len(numbers) == 1 else 'episodes'} {_ranges(numbers)}"
    raise UserError(f"{path}: says {says}, but meta/ has {has} ({_present(folder)}{missing}): {_AGAIN}")


def check_rows(folder: Path, files: Sequence[Path], expected: Sequence[int] | None, frames: int) -> None:
    """Raise UserError if the tables do not have as many rows as meta/ lists frames. Only footers are read.

    `expected`: the number of frames of each file, or None if meta/ does not assign episodes to files; then
    only the sum is compared with `frames`.
    """
    rows = [_row_count(file) for file in files]
    if expected is None and sum(rows) != frames:
        raise UserError(
            f"{folder}/data: has {sum(rows)} frames in {_names(folder, files)}, but the episodes in meta/ "
            f"have {frames}: {_AGAIN}"
        )
    for file, found, wanted in zip(files, rows, expected or rows, strict=True):
        if found != wanted:
            raise UserError(
                f"{file}: has {found} frames, but the episodes in meta/ have {wanted} in this file: {_AGAIN}"
            )


def check_present(folder: Path, files: Sequence[Path]) -> None:
    """Raise UserError if some of the `files` of a dataset do not exist, or are links out of its folder."""
    for file in files:
        if (problem := outside(folder, file.relative_to(folder).as_posix())) is not None:
            raise UserError(f"{file}: {problem}")
    missing = [file for file in files if not file.is_file()]
    if missing:
        more = "" if len(missing) == 1 else f" ({len(missing)} of {len(files)} such files are missing)"
        raise UserError(f"{missing[0]}: not found{more}: {_AGAIN}")


def _total(path: Path, info: Mapping[str, Any], name: str) -> int | None:
    value = info.get(name)
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer():
        return int(value)
    raise UserError(f"{path}: {name} is {value!r}: write a whole number, or remove it")


def _end_of_splits(info: Mapping[str, Any]) -> int | None:
    """Return the number of episodes by `splits`, for example {"train": "0:50"}, or None."""
    splits = info.get("splits")
    parts = [str(part).partition(":")[2] for part in splits.values()] if isinstance(splits, dict) else []
    return max(map(int, parts)) if parts and all(part.isdecimal() for part in parts) else None


def _present(folder: Path) -> str:
    """Describe the files of a dataset that exist."""
    found = []
    for name in ("meta/episodes", "data"):
        files = sorted((folder / name).glob("*/[!.]*.parquet"))
        if files:
            found.append(_names(folder, files))
    return "found: " + ("; ".join(found) or "no table")


def _names(folder: Path, files: Sequence[Path]) -> str:
    names = [str(file.relative_to(folder)) for file in files]
    return ", ".join(names) if len(names) <= SHOWN else f"{len(names)} files from {names[0]} to {names[-1]}"


def _ranges(numbers: np.ndarray) -> str:
    """Return sorted numbers as text, for example "3 to 5, 9"."""
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    texts = [str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts]
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")


def _row_count(file: Path) -> int:
    try:
        return pq.read_metadata(file).num_rows
    except PARQUET_FAULTS:
        raise UserError(f"{file}: not a complete Parquet file: {_AGAIN}") from None
