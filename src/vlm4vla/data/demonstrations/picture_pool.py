"""Worker processes that decode, resize and augment images ahead of training.

An image depends only on its sample (seed, update, frame). So the images are the same for any number of
workers, and it does not matter which worker prepares an image. Images are in memory that all processes share.
The number of images in memory is fixed, and so is the number of files that the workers keep open.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import OrderedDict
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vlm4vla.config.benchmarks import Augmentation, Shift
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.data.pictures.augmentation import augmented

TASK_SIZE = 8  # images that a worker prepares before it replies
WORKERS = "VLM4VLA_WORKERS"  # environment variable: number of worker processes per training process
MOST = 16  # largest default number of workers
Key = tuple[int, int]  # update and frame


@dataclass(frozen=True)
class PictureMaker:
    """Prepares the images of the index in `folder` for training. It is cheap to send to another process.

    `side`: height and width of the prepared images in pixels. `shift`, `augmentation`: see `augmented`.
    """

    folder: Path
    side: int
    shift: Shift
    augmentation: Augmentation | None
    seed: int

    def open(self) -> FramePictures:
        whole = self.augmentation is None or self.augmentation.crop == 1
        return FramePictures(open_index(self.folder), keep=True, side=self.side if whole else None)

    def make(self, pictures: FramePictures, step: int, row: int) -> np.ndarray:
        """Return the image of frame `row` for update `step`: (side, side, 3) uint8."""
        random = np.random.default_rng([self.seed, step, row])
        return augmented(pictures.original(row), self.side, self.shift, self.augmentation, random)


def worker_count() -> int:
    """Return the number of workers per training process.

    This is VLM4VLA_WORKERS if it is set. Otherwise it is one less than the CPUs available to the training
    process, and at most 16. The training processes of one machine (LOCAL_WORLD_SIZE) share its CPUs equally.
    Raises UserError for an invalid VLM4VLA_WORKERS.
    """
    configured = os.environ.get(WORKERS)
    if configured is not None:
        if not configured.isdecimal():
            raise UserError(f"{WORKERS}: {configured!r} is not a number of processes: write 0 or more")
        return int(configured)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    return min(max(cpus // shares - 1, 0), MOST)


class PicturePool:
    """Prepared images by update and frame: `prefetch` requests images ahead of time, and `get` returns them.

    `room`: the largest number of images in memory. With `workers` 0, each image is prepared by `get` itself.
    Close the pool, or use it as a context manager. The workers also end when this process ends, even if it is
    killed.
    """

    def __init__(self, maker: PictureMaker, *, workers: int, room: int):
        self.maker = maker
        self._pictures = maker.open() if not workers else None  # used without workers
        self._ready: dict[Key, int] = {}  # key to the slot with its image
        self._in_progress: dict[Key, int] = {}
        self._waiting: OrderedDict[Key, int] = OrderedDict()
        self._dropped: set[Key] = set()  # in progress, but not needed any more
        self._free = list(range(room))[::-1]
        self._workers: list[Any] = []
        self._load: dict[Connection, int] = {}  # number of tasks without a reply, per worker
        if not workers:
            return
        # Tasks for all slots are sent at once, so that workers continue while this process computes.
        self._most_tasks = -(-room // (TASK_SIZE * workers))
        shape = (room, maker.side, maker.side, 3)
        # Not `fork`, which would copy torch's threads and the state of CUDA.
        context = multiprocessing.get_context("spawn")
        memory = context.RawArray("B", int(np.prod(shape)))
        self._slots = np.frombuffer(memory, dtype=np.uint8).reshape(shape)
        for number in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(maker, memory, shape, theirs), daemon=True, name=f"pictures-{number}"
            )
            process.start()
            theirs.close()
            self._workers.append((process, ours))
            self._load[ours] = 0

    def __enter__(self) -> PicturePool:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def prefetch(self, step: int, rows: np.ndarray) -> None:
        """Request images ahead of time. Images without a free slot are skipped; `get` prepares them later."""
        if not self._workers:
            return
        for row in map(int, rows):
            key = (step, row)
            if not self._free:
                break
            if not self._has(key):
                self._waiting[key] = self._free.pop()
        self._send_tasks()

    def keep_updates(self, first: int, last: int) -> None:
        """Discard the images of all updates before `first` and after `last`."""
        for held in (self._ready, self._waiting):
            for key in [key for key in held if not first <= key[0] <= last]:
                self._free.append(held.pop(key))
        self._dropped |= {key for key in self._in_progress if not first <= key[0] <= last}

    def get(self, step: int, rows: np.ndarray) -> np.ndarray:
        """Return images (len(rows), side, side, 3) uint8. Raises UserError if one cannot be prepared."""
        side = self.maker.side
        out = np.empty((len(rows), side, side, 3), dtype=np.uint8)
        if not self._workers:
            for position in self._pictures.reading_order(np.asarray(rows)):
                out[position] = self.maker.make(self._pictures, step, int(rows[position]))
            return out
        positions: dict[Key, list[int]] = {}
        for position, row in enumerate(map(int, rows)):
            positions.setdefault((step, row), []).append(position)
        missing = OrderedDict.fromkeys(positions)
        while missing:
            for key in list(missing):
                if key in self._ready:
                    out[positions[key]] = self._slots[self._ready[key]]
                    self._free.append(self._ready.pop(key))
                    del missing[key]
                elif not self._has(key) and self._free:
                    self._waiting[key] = self._free.pop()
                    self._waiting.move_to_end(key, last=False)  # before the prefetched images
            if missing:
                if not self._free and not any(self._has(key) for key in missing):
                    self._free_slots(step)
                self._send_tasks()
                self._receive_reply()
        self._send_tasks()
        return out

    def close(self) -> None:
        """End the workers."""
        for process, connection in self._workers:
            connection.close()  # a worker that waits for a task sees the end of the stream
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()
        self._workers.clear()
        if self._pictures is not None:
            self._pictures.close()

    def _has(self, key: Key) -> bool:
        if key in self._dropped:  # needed again while it is in progress
            self._dropped.discard(key)
        return key in self._ready or key in self._in_progress or key in self._waiting

    def _free_slots(self, step: int) -> None:
        """Discard the images of other updates than `step`, so that the images of `step` get a slot."""
        for held in (self._waiting, self._ready):
            for key in [key for key in held if key[0] != step]:
                self._free.append(held.pop(key))
        self._dropped |= {key for key in self._in_progress if key[0] != step}

    def _send_tasks(self) -> None:
        while self._waiting:
            connection = min(self._load, key=self._load.__getitem__)
            if self._load[connection] == self._most_tasks:
                return
            task = [self._waiting.popitem(last=False) for _ in range(min(TASK_SIZE, len(self._waiting)))]
            self._in_progress |= dict(task)
            try:
                connection.send([(step, row, slot) for (step, row), slot in task])
            except OSError:
                self._raise_dead(connection)
            self._load[connection] += 1

    def _receive_reply(self) -> None:
        """Wait for the replies of workers and mark their images as ready."""
        for connection in wait([connection for _, connection in self._workers]):
            try:
                done, problem = connection.recv()
            except (EOFError, OSError):
                self._raise_dead(connection)
            if problem is not None:
                raise UserError(problem)
            for step, row in done:
                slot = self._in_progress.pop((step, row))
                if (step, row) in self._dropped:
                    self._dropped.discard((step, row))
                    self._free.append(slot)
                else:
                    self._ready[step, row] = slot
            self._load[connection] -= 1

    def _raise_dead(self, connection: Connection) -> NoReturn:
        process = next(process for process, own in self._workers if own is connection)
        process.join(timeout=5)
        raise UserError(
            f"{self.maker.folder}: a worker process that decodes images ended (exit status "
            f"{process.exitcode}): give the job more memory, or fewer workers ({WORKERS}), and run again to "
            "resume"
        )


def _work(maker: PictureMaker, memory: Any, shape: tuple[int, ...], connection: Connection) -> None:
    """Run a worker: receive tasks of (update, frame, slot), write images into their slots, and reply."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends this process
    slots = np.frombuffer(memory, dtype=np.uint8).reshape(shape)
    pictures = None
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        problem = None
        try:
            pictures = pictures or maker.open()
            for position in pictures.reading_order(np.array([row for _, row, _ in task])):
                step, row, slot = task[position]
                slots[slot] = maker.make(pictures, step, row)
        except UserError as error:
            problem = str(error)
        except Exception as error:  # otherwise the parent would only learn that a worker died
            problem = (
                f"{maker.folder}: cannot prepare an image ({error!r}): generate the demonstrations again"
            )
        try:
            connection.send(([(step, row) for step, row, _ in task], problem))
        except OSError:
            return
