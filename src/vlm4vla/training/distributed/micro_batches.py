"""An update's batch in micro-batches, prepared while the previous update is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm4vla.training.components.devices import pin_memory


@dataclass
class MicroBatch:
    """`terms`: the number of terms that the loss on `batch` averages. `seed`: for the model's randomness."""

    batch: Any
    terms: float
    seed: int


@dataclass
class Update:
    """`ids`: those of the whole batch, over all processes. `micro_batches`: those of this process."""

    ids: np.ndarray
    micro_batches: list[MicroBatch]


class MicroBatches:
    """This process's micro-batches of each update.

    The ids of an update are split into micro-batches of `size`, which are dealt to the processes in turn. The
    randomness of a micro-batch depends only on the seed, the update and the micro-batch's position, not on
    the process that computes it.
    """

    def __init__(self, samples: Any, objective: Any, *, seed: int, size: int, group: Any):
        self._samples = samples
        self._terms: Callable[[Any], Any] | None = getattr(objective, "terms", None)
        self._seed = seed
        self._size = size
        self._group = group

    def update(self, step: int) -> Update:
        """Return the micro-batches of update `step` (0-based)."""
        ids = self._samples.ids(step)
        starts = range(self._group.rank * self._size, len(ids), self._group.world_size * self._size)
        return Update(
            ids, [self._micro_batch(step, start, ids[start : start + self._size]) for start in starts]
        )

    def probe_batch(self) -> Any:
        """Return a batch on which to try out the model."""
        ids = self._samples.ids(0)[: self._size]
        return self._samples.batch(ids, np.random.default_rng(0))

    def _micro_batch(self, step: int, start: int, ids: np.ndarray) -> MicroBatch:
        # A whole batch in one micro-batch draws what training/loop.py draws.
        random = np.random.default_rng([self._seed, step, *([start] if start else [])])
        seed = int(random.integers(2**62))
        batch = self._samples.batch(ids, random)
        terms = len(ids) if self._terms is None else self._terms(batch)
        return MicroBatch(pin_memory(batch, self._group.device), float(terms), seed)


class Prefetcher:
    """Calls `make(step)` in a thread for each step from `first` to `stop` - 1, one step ahead of `get`.

    Use it as a context manager.
    """

    def __init__(self, make: Callable[[int], Any], first: int, stop: int):
        self._make = make
        self._stop = stop
        self._threads = ThreadPoolExecutor(1)
        self._next: Future | None = self._start(first)

    def _start(self, step: int) -> Future | None:
        return self._threads.submit(self._make, step) if step < self._stop else None

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def get(self, step: int) -> Any:
        """Return what `make(step)` returned, and start on the next step. Steps must be taken in order."""
        made = self._next.result()
        self._next = self._start(step + 1)
        return made
