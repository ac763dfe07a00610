"""Rollouts that stop early: the order of their episodes, their blocks, and the decision after each block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from vlm4vla.analysis.sequential import UNDECIDED, compare_in_order
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.conventions.episodes import SEPARATOR, Stop, stop_of
from vlm4vla.core.errors import UserError
from vlm4vla.core.seeding import rng_for
from vlm4vla.data.parquet import read_parquet


def spread_order(tasks: Sequence[str], benchmark: str, seed: int) -> list[int]:
    """The numbers of all episodes in an order in which every task comes up about equally often at any time.

    `tasks`: the task of each episode, or the tasks of a chain with `SEPARATOR` between them. The next episode
    is always one whose tasks have come up least so far. Equal episodes are in a random order that depends on
    `benchmark` and `seed` only. Episode 0 is the first one, because the report shows its film.
    """
    chains = [text.split(SEPARATOR) for text in tasks]
    names = dict.fromkeys(name for chain in chains for name in chain)
    columns = {name: column for column, name in enumerate(names)}
    holds = np.zeros((len(chains), len(columns)), dtype=np.int64)
    for row, chain in enumerate(chains):
        for name in chain:
            holds[row, columns[name]] += 1
    shuffled = rng_for("order of episodes", benchmark, seed).permutation(np.arange(1, len(chains)))
    left = [0, *shuffled.tolist()] if chains else []
    seen, order = np.zeros(len(columns), dtype=np.int64), []
    while left:
        chosen = 0 if not order else int(np.argmin(holds[left] @ seen))  # argmin: the first of equals
        order.append(left.pop(chosen))
        seen += holds[order[-1]]
    return order


class EarlyStop:
    """The blocks of one rollout, and the sequential test against the policy `evaluation.stop.against`.

    `path`: the records of that policy, which was rolled out in full. `order`: the numbers of all episodes.
    Raises UserError if the records are of another evaluation, or of a rollout that could stop early itself.
    """

    def __init__(self, settings: RolloutSettings, path: Path, episodes: int):
        assert settings.evaluation.stop is not None
        self.settings, self.stop, self.path = settings, settings.evaluation.stop, path
        if not path.exists():
            raise UserError(f"{path}: no such file: roll out the policy {self.stop.against!r} first")
        rows = read_parquet(path).sort_by("episode")
        first = rows.slice(0, 1).to_pylist()[0] if len(rows) else {}
        for key, wanted in (("benchmark", settings.benchmark), ("rollout_seed", settings.evaluation.seed)):
            if first.get(key) != wanted:
                raise UserError(
                    f"{path}: {key} is {first.get(key)!r}, but this rollout has {wanted!r}: roll out both on "
                    "the same initial states"
                )
        if stop_of(rows.schema) is not None:
            raise UserError(f"{path}: this rollout could stop early itself: compare with a full one")
        if rows["episode"].to_pylist() != list(range(episodes)):
            raise UserError(
                f"{path}: has {len(rows)} of the {episodes} episodes of this rollout: roll out the policy "
                f"{self.stop.against!r} in full"
            )
        self._policy = {key: first[key] for key in ("model", "auxiliary", "variant", "seed")}
        self._states = {key: rows[key].to_pylist() for key in ("task", "initial_state")}
        self._solved = rows["solved"].to_pylist()
        self.order = spread_order(self._states["task"], settings.benchmark, settings.evaluation.seed)

    def blocks(self) -> Iterator[list[int]]:
        """The numbers of the episodes of each block, in the order of the rollout."""
        for first in range(0, len(self.order), self.stop.block):
            yield self.order[first : first + self.stop.block]

    def check(self, key: str, values: Sequence[object], numbers: Sequence[int] | None = None) -> None:
        """Raise UserError unless the episodes `numbers` have these values of `key` in the other records, too.

        `key`: `task` or `initial_state`. `numbers`: by default all episodes.
        """
        for number, value in zip(numbers or range(len(self.order)), values, strict=True):
            if self._states[key][number] != value:
                raise UserError(
                    f"{self.path}: episode {number} has another {key} ({self._states[key][number]!r}) than "
                    f"this rollout ({value!r}): roll out both on the same initial states"
                )

    def look(self, solved: Sequence[int]) -> Stop:
        """How the rollout stands after its first episodes. It ends when the `Stop` has a reason.

        `solved`: instructions solved in these episodes, in the order of the rollout.
        """
        found = compare_in_order(
            solved,
            [self._solved[number] for number in self.order[: len(solved)]],
            n_max=len(self.order),
            alpha=self.stop.alpha,
            most=facts(self.settings.benchmark).instructions_per_episode,
            hopeless=self.stop.hopeless,
        )
        return Stop(
            **self._policy,
            alpha=self.stop.alpha,
            block=self.stop.block,
            order=tuple(self.order),
            episodes=len(solved),
            decision=found.outcome,
            reason=found.reason,
            decided_after=None if found.outcome == UNDECIDED else found.states,
        )


def solved_in_order(rows: pa.Table, order: Sequence[int]) -> list[int]:
    """Instructions solved in the episodes of `rows`, in the order of the rollout."""
    solved = dict(zip(rows["episode"].to_pylist(), rows["solved"].to_pylist(), strict=True))
    return [solved[number] for number in order if number in solved]
