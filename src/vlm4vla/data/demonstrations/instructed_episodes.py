"""Leave out the episodes of an index that have no instruction, and check the instructions of the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.index_rows import new_array
from vlm4vla.data.instructions import LeftOut, drop_blank_tasks
from vlm4vla.data.lerobot.metadata import Metadata
from vlm4vla.data.statistics import BLOCK


@dataclass(frozen=True)
class InstructedEpisodes:
    """The episodes of a dataset that have an instruction.

    `episodes`: (E,) bool, whether an episode is kept. `frames`: (N,) bool, the same for its frames, or None
    if all are kept. `tasks`: the instruction of each task_index of the kept frames.
    """

    episodes: np.ndarray
    frames: np.ndarray | None
    tasks: list[str]
    left_out: LeftOut


def leave_out_blank(metadata: Metadata, arrays: dict[str, np.ndarray], folder: Path) -> InstructedEpisodes:
    """Shorten the arrays of `write_rows` to the episodes in which every frame has an instruction.

    Changes `arrays` and the files `folder`/*.npy; the numbers of episodes and tasks are those of the kept
    ones. Raises UserError if no episode is left, or if an episode has another task in meta/ than its frames.
    """
    blank_task = np.array([text is None for text in metadata.tasks] + [True])  # the last one is for null
    length = metadata.episodes.length
    blank = np.zeros(len(length), dtype=bool)
    for start in range(0, len(arrays["episode"]), BLOCK):
        rows = slice(start, start + BLOCK)
        blank[arrays["episode"][rows][blank_task[arrays["task_index"][rows]]]] = True
    if blank.all():
        raise UserError(f"{metadata.folder}: no episode has an instruction{_advice(metadata)}")
    _check_stated_tasks(metadata, arrays["task_index"], ~blank)
    frames = None
    if blank.any():
        frames = np.repeat(~blank, length)
        for name in arrays:
            arrays[name] = _shortened(arrays[name], frames, folder / f"{name}.npy")
        numbers = np.cumsum(~blank) - 1
        arrays["episode"][:] = numbers[arrays["episode"]]
    tasks = [text for text in metadata.tasks if text is not None]
    if len(tasks) < len(metadata.tasks):
        arrays["task_index"][:] = drop_blank_tasks(metadata.tasks, arrays["task_index"])[1]
    return InstructedEpisodes(~blank, frames, tasks, LeftOut.of(length[blank]))


def _advice(metadata: Metadata) -> str:
    texts = [name for name, feature in metadata.features.items() if feature.get("dtype") == "string"]
    where = "meta/tasks.parquet" if (metadata.folder / "meta/tasks.parquet").is_file() else "meta/tasks.jsonl"
    columns = f" (the frames have the texts {', '.join(texts)})" if texts else ""
    return f": write the texts into {where}, and their numbers into the column task_index{columns}"


def _check_stated_tasks(metadata: Metadata, task_index: np.ndarray, kept: np.ndarray) -> None:
    """Raise UserError if meta/ lists tasks for an episode, but not the task of the episode's first frame."""
    first = np.cumsum(metadata.episodes.length) - metadata.episodes.length
    for row, stated in enumerate(metadata.episode_tasks()):
        number = int(task_index[first[row]])
        if kept[row] and stated and metadata.tasks[number] not in stated:
            raise UserError(
                f"{metadata.folder}: meta/episodes has the task {stated[0]!r} for episode "
                f"{metadata.episodes.index[row]}, but its frames have task_index {number}, which is "
                f"{metadata.tasks[number]!r}: correct the one that is wrong"
            )


def _shortened(array: np.ndarray, kept: np.ndarray, path: Path) -> np.ndarray:
    """Write the rows `kept` of a memory-mapped array to `path`, block by block, and return the new array."""
    temporary = path.with_name(f".{path.name}")
    shape = (int(kept.sum()), *array.shape[1:])
    shorter = new_array(temporary, array.dtype, shape)
    done = 0
    for start in range(0, len(array), BLOCK):
        rows = array[start : start + BLOCK][kept[start : start + BLOCK]]
        shorter[done : done + len(rows)] = rows
        done += len(rows)
    temporary.replace(path)
    return shorter
