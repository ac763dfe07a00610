"""Compare the totals in info.json with what a dataset contains, so that a part is never taken for the whole.

LeRobot writes `total_episodes`, `total_frames` and `total_tasks`; other tools may write none. A snapshot that
lacks its last files is consistent in itself, and only these totals show that it is incomplete.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import outside
from vlm4vla.data.parquet import PARQUET_FAULTS

SHOWN = 3  # files or ranges that a message lists
LONGEST_NUMBER = 18  # digits of a number of episodes
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
        missing = f"; missing: {_missing(total, index)}"
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
    if (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    ):
        return int(value)
    raise UserError(f"{path}: {name} is {value!r}: write a whole number, or remove it")


def _end_of_splits(info: Mapping[str, Any]) -> int | None:
    """Return the number of episodes by `splits`, for example {"train": "0:50"}, or None."""
    splits = info.get("splits")
    parts = [str(part).partition(":")[2] for part in splits.values()] if isinstance(splits, dict) else []
    whole = bool(parts) and all(part.isdecimal() and len(part) <= LONGEST_NUMBER for part in parts)
    return max(map(int, parts)) if whole else None


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


def _missing(total: int, index: np.ndarray) -> str:
    """The numbers below `total` that are not in `index`, as text, for example "episodes 3 to 5, 9".

    `total` is what a file states, and can be beyond all numbers that fit into memory.
    """
    present = sorted({number for number in index.tolist() if 0 <= number < total})
    gaps = [
        (before + 1, after - 1)
        for before, after in itertools.pairwise([-1, *present, total])
        if after - before > 1
    ]
    single = len(gaps) == 1 and gaps[0][0] == gaps[0][1]
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in gaps[:SHOWN]]
    more = ", ..." if len(gaps) > SHOWN else ""
    return f"{'episode' if single else 'episodes'} {', '.join(texts)}{more}"


def _row_count(file: Path) -> int:
    try:
        return pq.read_metadata(file).num_rows
    except PARQUET_FAULTS:
        raise UserError(f"{file}: not a complete Parquet file: {_AGAIN}") from None
