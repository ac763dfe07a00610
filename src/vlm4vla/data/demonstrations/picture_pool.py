"""Worker processes that decode, resize and augment pictures ahead of training.

A picture depends on its sample alone (seed, update, frame), so the same pictures come out whatever the number
of workers and whichever of them makes a picture. Pictures lie in memory that all processes share; how many
there may be is fixed, and so is what the workers hold open.
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

from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.data.pictures.augmentation import augmented

PIECE = 8  # pictures that a worker makes before it answers
WORKERS = "VLM4VLA_WORKERS"  # environment variable: worker processes of a training process
MOST = 16  # workers by default
Key = tuple[int, int]  # update, frame


@dataclass(frozen=True)
class PictureMaker:
    """How the pictures of an index at `folder` are made for training; cheap to hand to a process."""

    folder: Path
    side: int
    shift: int
    augmentation: Augmentation | None
    seed: int

    def open(self) -> FramePictures:
        return FramePictures(open_index(self.folder))

    def make(self, pictures: FramePictures, step: int, row: int) -> np.ndarray:
        """The picture of frame `row` at update `step`: (side, side, 3) uint8."""
        random = np.random.default_rng([self.seed, step, row])
        return augmented(pictures.original(row), self.side, self.shift, self.augmentation, random)


def worker_count() -> int:
    """VLM4VLA_WORKERS, or one for each CPU that this process may use but its own, 16 at most.

    Several training processes of one machine (LOCAL_WORLD_SIZE) share its CPUs. Raises UserError.
    """
    given = os.environ.get(WORKERS)
    if given is not None:
        if not given.isdecimal():
            raise UserError(f"{WORKERS}: {given!r} is no number of processes: write 0 or more")
        return int(given)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    return min(max(cpus // shares - 1, 0), MOST)


class PicturePool:
    """Pictures by (update, frame): asked for ahead with `want`, had with `take`.

    `room`: most pictures that are held at once. `workers` 0 makes each picture when it is taken. Close it, or
    use it as a context manager; workers also end when this process does, however it ends.
    """

    def __init__(self, maker: PictureMaker, *, workers: int, room: int):
        self.maker = maker
        self._own = maker.open() if not workers else None
        self._ready: dict[Key, int] = {}  # key: slot that holds its picture
        self._making: dict[Key, int] = {}
        self._waiting: OrderedDict[Key, int] = OrderedDict()
        self._dropped: set[Key] = set()  # in the making, no longer wanted
        self._free = list(range(room))[::-1]
        self._workers: list[Any] = []
        self._load: dict[Connection, int] = {}  # pieces that a worker has not answered for
        if not workers:
            return
        # All that there is room for is handed out, so that workers go on while this process computes.
        self._most = -(-room // (PIECE * workers))
        shape = (room, maker.side, maker.side, 3)
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads and CUDA's state
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

    def want(self, step: int, rows: np.ndarray) -> None:
        """Ask for pictures ahead. Those that there is no room for are left out: `take` makes them."""
        if not self._workers:
            return
        for row in map(int, rows):
            key = (step, row)
            if not self._free:
                break
            if not self._has(key):
                self._waiting[key] = self._free.pop()
        self._hand_out()

    def drop_before(self, step: int, last: int) -> None:
        """Forget pictures of updates before `step` and after `last`."""
        for held in (self._ready, self._waiting):
            for key in [key for key in held if not step <= key[0] <= last]:
                self._free.append(held.pop(key))
        self._dropped |= {key for key in self._making if not step <= key[0] <= last}

    def take(self, step: int, rows: np.ndarray) -> np.ndarray:
        """Pictures (len(rows), side, side, 3) uint8. Raises UserError when one cannot be made."""
        side = self.maker.side
        out = np.empty((len(rows), side, side, 3), dtype=np.uint8)
        if not self._workers:
            order = self._own.order(np.asarray(rows))
            for place in order:
                out[place] = self.maker.make(self._own, step, int(rows[place]))
            return out
        places: dict[Key, list[int]] = {}
        for place, row in enumerate(map(int, rows)):
            places.setdefault((step, row), []).append(place)
        left = OrderedDict.fromkeys(places)
        while left:
            for key in list(left):
                if key in self._ready:
                    out[places[key]] = self._slots[self._ready[key]]
                    self._free.append(self._ready.pop(key))
                    del left[key]
                elif not self._has(key) and self._free:
                    self._waiting[key] = self._free.pop()
                    self._waiting.move_to_end(key, last=False)  # before what is asked for ahead
            if left:
                if not self._free and not any(self._has(key) for key in left):
                    self._make_room(step)
                self._hand_out()
                self._receive()
        self._hand_out()
        return out

    def close(self) -> None:
        """End the workers."""
        for process, connection in self._workers:
            connection.close()  # a worker that reads meets the end
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()
        self._workers.clear()
        if self._own is not None:
            self._own.close()

    def _has(self, key: Key) -> bool:
        if key in self._dropped:  # wanted again while it is being made
            self._dropped.discard(key)
        return key in self._ready or key in self._making or key in self._waiting

    def _make_room(self, step: int) -> None:
        """Give up what was asked for ahead, so that what is needed now gets a slot."""
        for held in (self._waiting, self._ready):
            for key in [key for key in held if key[0] != step]:
                self._free.append(held.pop(key))
        self._dropped |= {key for key in self._making if key[0] != step}

    def _hand_out(self) -> None:
        while self._waiting:
            connection = min(self._load, key=self._load.__getitem__)
            if self._load[connection] == self._most:
                return
            piece = [self._waiting.popitem(last=False) for _ in range(min(PIECE, len(self._waiting)))]
            self._making |= dict(piece)
            try:
                connection.send([(step, row, slot) for (step, row), slot in piece])
            except OSError:
                self._dead(connection)
            self._load[connection] += 1

    def _receive(self) -> None:
        """Wait for a worker's answer, and take note of it."""
        for connection in wait([connection for _, connection in self._workers]):
            try:
                done, fault = connection.recv()
            except (EOFError, OSError):
                self._dead(connection)
            if fault is not None:
                raise UserError(fault)
            for step, row in done:
                slot = self._making.pop((step, row))
                if (step, row) in self._dropped:
                    self._dropped.discard((step, row))
                    self._free.append(slot)
                else:
                    self._ready[step, row] = slot
            self._load[connection] -= 1

    def _dead(self, connection: Connection) -> NoReturn:
        process = next(process for process, own in self._workers if own is connection)
        process.join(timeout=5)
        raise UserError(
            f"{self.maker.folder}: a worker that decodes pictures ended (exit status {process.exitcode}): "
            f"give the job more memory, or fewer workers ({WORKERS}), and run again: it goes on"
        )


def _work(maker: PictureMaker, memory: Any, shape: tuple[int, ...], connection: Connection) -> None:
    """A worker's life: a piece of (update, frame, slot) in, pictures into their slots, an answer out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and the parent's end this process
    slots = np.frombuffer(memory, dtype=np.uint8).reshape(shape)
    pictures = None
    while True:
        try:
            piece = connection.recv()
        except (EOFError, OSError):
            return
        fault = None
        try:
            pictures = pictures or maker.open()
            for place in pictures.order(np.array([row for _, row, _ in piece])):
                step, row, slot = piece[place]
                slots[slot] = maker.make(pictures, step, row)
        except UserError as error:
            fault = str(error)
        except Exception as error:  # the parent ends; without this it would only learn that a worker died
            fault = f"{maker.folder}: a picture cannot be made ({error!r}): make the demonstrations again"
        try:
            connection.send(([(step, row) for step, row, _ in piece], fault))
        except OSError:
            return
