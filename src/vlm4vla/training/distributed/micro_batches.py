"""The next update's micro-batches are made while the present one is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm4vla.training.components.devices import pinned


@dataclass
class MicroBatch:
    """`terms`: of how many the loss on `batch` is the mean; `seed`: of what the model draws."""

    batch: Any
    terms: float
    seed: int


@dataclass
class Update:
    """`ids` of the whole batch, in all processes; `blocks` of this one."""

    ids: np.ndarray
    blocks: list[MicroBatch]


class MicroBatches:
    """This process's micro-batches of each update.

    An update's ids lie in blocks of `size`, which go round the processes. What is random in a block depends
    on seed, update and the block's place alone, so that it does not matter which process has it.
    """

    def __init__(self, samples: Any, objective: Any, *, seed: int, size: int, group: Any):
        self._samples = samples
        self._terms: Callable[[Any], Any] | None = getattr(objective, "terms", None)
        self._seed = seed
        self._size = size
        self._group = group

    def of(self, step: int) -> Update:
        """What update `step` (0-based) is made of."""
        ids = self._samples.ids(step)
        starts = range(self._group.rank * self._size, len(ids), self._group.world * self._size)
        return Update(ids, [self._block(step, start, ids[start : start + self._size]) for start in starts])

    def first(self) -> Any:
        """A batch for trying out the model."""
        ids = self._samples.ids(0)[: self._size]
        return self._samples.batch(ids, np.random.default_rng(0))

    def _block(self, step: int, start: int, ids: np.ndarray) -> MicroBatch:
        # A batch in one block draws what the path for tiny backbones does.
        random = np.random.default_rng([self._seed, step, *([start] if start else [])])
        seed = int(random.integers(2**62))
        batch = self._samples.batch(ids, random)
        terms = len(ids) if self._terms is None else self._terms(batch)
        return MicroBatch(pinned(batch, self._group.device), float(terms), seed)


class Ahead:
    """Calls `make(step)` from step `first` to before `last`, one ahead of who asks; a context manager."""

    def __init__(self, make: Callable[[int], Any], first: int, last: int):
        self._make = make
        self._last = last
        self._threads = ThreadPoolExecutor(1)
        self._next: Future | None = self._ask(first)

    def _ask(self, step: int) -> Future | None:
        return self._threads.submit(self._make, step) if step < self._last else None

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def take(self, step: int) -> Any:
        """What was made for `step`, in order; starts on the next."""
        made = self._next.result()
        self._next = self._ask(step + 1)
        return made
