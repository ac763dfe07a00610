"""Samples drawn from several datasets by weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vlm4vla.auxiliary.public.sample import InvalidRow, PublicSamples, Sample
from vlm4vla.core.errors import UserError


class Mixture:
    """Samples of several datasets, drawn by `weights`.

    Draw n takes the next sample of one dataset; `seed` and n alone decide which. A dataset that ends starts
    again, so a mixture of several datasets never ends. A single dataset is read once.

    A position is the number of draws and the position of every dataset.
    """

    def __init__(self, sets: Mapping[str, PublicSamples], weights: Mapping[str, float], seed: int):
        self.sets = dict(sets)
        self.names = list(sets)
        total = sum(weights[name] for name in self.names)
        self._edges = np.cumsum([weights[name] / total for name in self.names])
        self.seed = seed
        self._drawn = 0
        self._starts: dict[str, Any] = dict.fromkeys(self.names)  # positions before the first draw
        self._read: set[str] = set()

    @property
    def position(self) -> Any:
        """See `PublicSamples`."""
        at = {
            name: each.position if name in self._read else self._starts[name]
            for name, each in self.sets.items()
        }
        return {"drawn": self._drawn, "sets": at}

    def choose_set(self, number: int) -> str:
        """Return the name of the dataset for draw `number`."""
        share = np.random.default_rng([self.seed, number]).random()
        return self.names[min(int(np.searchsorted(self._edges, share, side="right")), len(self.names) - 1)]

    def read(self, position: Any = None) -> Iterator[tuple[str, Sample | InvalidRow]]:
        """Yield samples, each with the name of its dataset.

        Raises UserError if a dataset of a mixture has no rows.
        """
        at = position or {"drawn": 0, "sets": {}}
        self._drawn, self._read = at["drawn"], set()
        self._starts = {name: at["sets"].get(name) for name in self.names}
        streams = {name: each.read(self._starts[name]) for name, each in self.sets.items()}
        while True:
            name = self.names[0] if len(self.names) == 1 else self.choose_set(self._drawn)
            found = next(streams[name], None)
            if found is None:
                if len(self.names) == 1:
                    return
                streams[name] = self.sets[name].read()
                found = next(streams[name], None)
                if found is None:
                    raise UserError(
                        f"mixture: the dataset {name!r} has no rows: write another pattern in `files`"
                    )
            self._read.add(name)
            self._drawn += 1
            yield name, found
