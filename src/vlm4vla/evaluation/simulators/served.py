"""Who answers behind the policy server: a VLA, random actions (the floor), or recorded ones.

All give actions in the convention of their benchmark (vlm4vla.conventions.actions), un-normalised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import Demonstrations, read

INITIAL_STATE = "initial_state"  # column of a data set whose episodes began in known states of the simulator


@dataclass(frozen=True)
class Asked:
    """One observation: a picture (H, W, 3) uint8 in the policy's size, and the robot's state (S,) if sent."""

    session: str
    picture: np.ndarray
    instruction: str
    state: np.ndarray | None = None


class Policy(Protocol):
    """`begin` is called when a session starts an episode; `plan` gives a chunk (T, 7) for every question."""

    reads_state: bool

    def begin(self, session: str, task: Mapping[str, Any]) -> None: ...

    def plan(self, asked: Sequence[Asked]) -> list[np.ndarray]: ...


def stream(seed: int, *parts: int) -> np.random.Generator:
    """A generator that depends on the seed and `parts` only."""
    return np.random.default_rng([seed, *parts])


class Vla:
    """A trained policy; all sessions that ask at once are answered in one batch.

    Noise of heads that sample depends on the seed, the episode and how often it has asked, and not on which
    episodes are played beside it. Raises UserError for a policy of another benchmark or normalisation.
    """

    def __init__(self, folder: Path, benchmark: str, unnormalisation: str, seed: int):
        import torch

        from vlm4vla.policies.policy import Policy as Trained

        self.policy = Trained.load(folder).to("cuda" if torch.cuda.is_available() else "cpu")
        trained = self.policy.statistics
        if trained.benchmark != benchmark:
            raise UserError(
                f"{folder}/policy.json: the policy acts as {trained.benchmark} does, the simulator is "
                f"{benchmark}'s: give a policy of {benchmark}"
            )
        if trained.kind != unnormalisation:
            raise UserError(
                f"{folder}/policy.json: actions are normalised by {trained.kind}, simulator.unnormalisation "
                f"says {unnormalisation}: write {trained.kind}, or train the policy again"
            )
        self.reads_state = self.policy.head.reads_state
        self.seed = seed
        self._episode: dict[str, int] = {}
        self._asked: Counter[str] = Counter()

    def begin(self, session: str, task: Mapping[str, Any]) -> None:
        self._episode[session] = int(task.get("number", 0))
        self._asked[session] = 0

    def plan(self, asked: Sequence[Asked]) -> list[np.ndarray]:
        more: dict[str, np.ndarray] = {}
        if self.reads_state:
            states = [each.state for each in asked]
            if any(state is None for state in states):
                raise ValueError("the policy reads the robot's state, and the simulator sent none")
            more["states"] = np.stack(states)
        if self.policy.head.samples:
            more["noise"] = np.stack([self._noise(each.session) for each in asked])
        pictures = np.stack([each.picture for each in asked])
        return list(self.policy.predict(pictures, [each.instruction for each in asked], **more))

    def _noise(self, session: str) -> np.ndarray:
        rng = stream(self.seed, self._episode.get(session, 0), self._asked[session])
        self._asked[session] += 1
        return rng.standard_normal((self.policy.chunk, ACTION_SIZE))


class Random:
    """Motion uniform within the demonstrations' bounds, and fingers that open or close as a coin falls."""

    reads_state = False

    def __init__(self, statistics: Statistics, seed: int, horizon: int):
        self.statistics, self.seed, self.horizon = statistics, seed, horizon
        self._streams: dict[str, np.random.Generator] = {}

    def begin(self, session: str, task: Mapping[str, Any]) -> None:
        self._streams[session] = stream(self.seed, int(task.get("number", 0)))

    def plan(self, asked: Sequence[Asked]) -> list[np.ndarray]:
        return [self._chunk(self._streams[each.session]) for each in asked]

    def _chunk(self, rng: np.random.Generator) -> np.ndarray:
        pose = rng.uniform(-1, 1, (self.horizon, POSE_SIZE))
        return self.statistics.denormalise(pose, rng.uniform(-1, 1, self.horizon))


class Replay:
    """The actions of demonstrations from known initial states, normalised and un-normalised as a policy's.

    Shows whether what a data set holds does in the simulator what it did when it was recorded: polarity,
    scale and order of the whole path from the policy to the simulator. After its last action nothing moves.
    """

    reads_state = False

    def __init__(self, demonstrations: Path, statistics: Statistics, horizon: int):
        frames = read(demonstrations, images=False)
        self.horizon = horizon
        self._recorded = _by_start(frames, statistics)
        self._rest: dict[str, np.ndarray] = {}

    def begin(self, session: str, task: Mapping[str, Any]) -> None:
        start = (str(task.get("name")), int(task["state"]))
        if start not in self._recorded:
            raise UserError(f"no demonstration of {start[0]!r} from initial state {start[1]}: record one")
        self._rest[session] = self._recorded[start]

    def plan(self, asked: Sequence[Asked]) -> list[np.ndarray]:
        return [self._next(each.session) for each in asked]

    def _next(self, session: str) -> np.ndarray:
        rest = self._rest[session]
        still = np.zeros_like(rest[-1:])
        still[:, POSE_SIZE] = rest[-1, POSE_SIZE]
        self._rest[session] = rest[self.horizon :] if len(rest) > self.horizon else still
        missing = max(self.horizon - len(rest), 0)
        return np.concatenate([rest[: self.horizon], np.repeat(still, missing, axis=0)])


def _by_start(frames: Demonstrations, statistics: Statistics) -> dict[tuple[str, int], np.ndarray]:
    """(instruction, initial state) to actions (T, 7), as a policy that predicts them rightly gives them."""
    files = sorted(frames.folder.glob("data/*/*.parquet"))
    if any(INITIAL_STATE not in pq.read_schema(file).names for file in files):
        raise UserError(
            f"{frames.folder}/data: column {INITIAL_STATE!r} is missing: only demonstrations that say from "
            "which state of the simulator they began can be replayed"
        )
    states = np.concatenate(
        [np.stack(pq.read_table(file, columns=[INITIAL_STATE])[INITIAL_STATE].to_numpy()) for file in files]
    )
    pose, gripper = statistics.normalise(frames.actions)
    actions = statistics.denormalise(pose, gripper - 0.5)
    found = {}
    for episode in np.unique(frames.episode_index):
        own = np.flatnonzero(frames.episode_index == episode)
        start = (frames.tasks[frames.task_index[own[0]]], int(states[own[0], 0]))
        found.setdefault(start, actions[own])
    return found
