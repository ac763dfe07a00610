"""Samples drawn from several sets by weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vlm4vla.auxiliary.public.sample import Fault, Sample, Samples
from vlm4vla.core.errors import UserError


class Mixture:
    """Draw n takes the next sample of a set that is chosen by `weights`; which depends on `seed` and n alone.

    A set that ends begins again, so a mixture of several has no end; a single set has its own.

    A position is the number of draws and the position of every set.
    """

    def __init__(self, sets: Mapping[str, Samples], weights: Mapping[str, float], seed: int):
        self.sets = dict(sets)
        self.names = list(sets)
        total = sum(weights[name] for name in self.names)
        self._edges = np.cumsum([weights[name] / total for name in self.names])
        self.seed = seed
        self._drawn = 0
        self._begins: dict[str, Any] = dict.fromkeys(self.names)  # of sets that nothing was drawn from yet
        self._read: set[str] = set()

    @property
    def position(self) -> Any:
        """See `Samples`."""
        at = {
            name: each.position if name in self._read else self._begins[name]
            for name, each in self.sets.items()
        }
        return {"drawn": self._drawn, "sets": at}

    def chosen(self, number: int) -> str:
        """The set that draw `number` takes from."""
        share = np.random.default_rng([self.seed, number]).random()
        return self.names[min(int(np.searchsorted(self._edges, share, side="right")), len(self.names) - 1)]

    def read(self, position: Any = None) -> Iterator[tuple[str, Sample | Fault]]:
        """Samples, each with the name of its set. Raises UserError for a set of a mixture without any row."""
        at = position or {"drawn": 0, "sets": {}}
        self._drawn, self._read = at["drawn"], set()
        self._begins = {name: at["sets"].get(name) for name in self.names}
        streams = {name: each.read(self._begins[name]) for name, each in self.sets.items()}
        while True:
            name = self.names[0] if len(self.names) == 1 else self.chosen(self._drawn)
            found = next(streams[name], None)
            if found is None:
                if len(self.names) == 1:
                    return
                streams[name] = self.sets[name].read()
                found = next(streams[name], None)
                if found is None:
                    raise UserError(f"the set {name!r} of the mixture holds no row: write another pattern")
            self._read.add(name)
            self._drawn += 1
            yield name, found
