"""The policies behind the policy server: a trained or a released VLA, random actions, or recorded actions.

All return un-normalised actions in the convention of their benchmark (vlm4vla.conventions.actions).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow.parquet as pq

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.actions import POSE_SIZE
from vlm4vla.core.artefacts import files_of
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import open_demonstrations
from vlm4vla.data.lerobot.reader import DemonstrationSet, read_demonstrations
from vlm4vla.evaluation.simulators.recorded_states import INITIAL_STATE

if TYPE_CHECKING:
    from vlm4vla.policies.policy import Policy
    from vlm4vla.policies.released.pi0 import ReleasedPi0


@dataclass(frozen=True)
class Query:
    """A request for a plan from one session, which is one simulator process.

    `image`: (H, W, 3) uint8 in the policy's image size. `state`: the robot's state (S,), if the simulator
    sends it.
    """

    session: str
    image: np.ndarray
    instruction: str
    state: np.ndarray | None = None


class ServedPolicy(Protocol):
    """A policy that the server can use.

    The server calls `start_episode` when a session starts an episode, and `plan` with the queries that are
    answered together. `plan` returns an action chunk (T, 7) for each query. `reads_state`: whether the
    simulator must send the robot's state. `reads_image`: whether the image of a query must be of its step.
    """

    reads_state: bool
    reads_image: bool

    def start_episode(self, session: str, task: Mapping[str, Any]) -> None: ...

    def plan(self, queries: Sequence[Query]) -> list[np.ndarray]: ...


class ServedPredictor:
    """A policy. It answers the queries of several sessions in one batch.

    A policy that samples gets noise that depends on the seed, the episode and the number of plans made in
    that episode, but not on the other episodes.
    """

    def __init__(self, policy: Policy | ReleasedPi0, seed: int):
        self.policy, self.seed = policy, seed
        self.reads_state, self.reads_image = policy.reads_state, True
        self._episode: dict[str, int] = {}
        self._plans: Counter[str] = Counter()

    def start_episode(self, session: str, task: Mapping[str, Any]) -> None:
        self._episode[session] = int(task.get("number", 0))
        self._plans[session] = 0

    def plan(self, queries: Sequence[Query]) -> list[np.ndarray]:
        inputs: dict[str, np.ndarray] = {}
        if self.reads_state:
            states = [query.state for query in queries]
            if any(state is None for state in states):
                raise ValueError("the policy reads the robot's state, but the simulator sent none")
            inputs["states"] = np.stack(states)
        if self.policy.samples:
            inputs["noise"] = np.stack([self._noise(query.session) for query in queries])
        images = np.stack([query.image for query in queries])
        return list(self.policy.predict(images, [query.instruction for query in queries], **inputs))

    def _noise(self, session: str) -> np.ndarray:
        rng = np.random.default_rng([self.seed, self._episode.get(session, 0), self._plans[session]])
        self._plans[session] += 1
        return rng.standard_normal(self.policy.noise_shape)


class ServedVla(ServedPredictor):
    """A trained policy.

    Raises UserError for a policy of another benchmark, another normalisation or another centre crop.
    """

    def __init__(
        self,
        folder: Path,
        benchmark: str,
        unnormalisation: str,
        seed: int,
        centre_crop: float | None = None,
    ):
        import torch

        from vlm4vla.policies.policy import Policy

        policy = Policy.load(folder).to("cuda" if torch.cuda.is_available() else "cpu")
        trained = policy.statistics
        if trained.benchmark != benchmark:
            raise UserError(
                f"{folder}/policy.json: the policy was trained for {trained.benchmark}, but the simulator is "
                f"for {benchmark}: use a policy that was trained for {benchmark}"
            )
        if trained.kind != unnormalisation:
            raise UserError(
                f"{folder}/policy.json: actions are normalised by {trained.kind}, but "
                f"simulator.unnormalisation is {unnormalisation}: write {trained.kind}, or train the policy "
                "again"
            )
        policy.check_centre_crop(centre_crop, folder)
        super().__init__(policy, seed)


class ServedReleased(ServedPredictor):
    """The released policy of a rollout. Raises UserError for a folder that is damaged or does not fit."""

    def __init__(self, settings: RolloutSettings):
        from vlm4vla.policies.released.folder import rollout_folder
        from vlm4vla.policies.released.pi0 import load_released

        super().__init__(load_released(rollout_folder(settings), settings), settings.evaluation.seed)


def read_statistics(demonstrations: Path, kind: str, benchmark: str) -> Statistics:
    """Return the action statistics of `demonstrations`, a recorded dataset or the index of another one."""
    stats = open_demonstrations(demonstrations, images=False).stats
    return Statistics.from_stats(stats, kind, benchmark)


class ServedRandom:
    """Uniform motion within the bounds of the demonstrations; the gripper opens or closes at random.

    The random actions depend on the seed and the episode only.
    """

    reads_state = reads_image = False

    def __init__(self, statistics: Statistics, seed: int, horizon: int):
        self.statistics, self.seed, self.horizon = statistics, seed, horizon
        self._generators: dict[str, np.random.Generator] = {}

    def start_episode(self, session: str, task: Mapping[str, Any]) -> None:
        self._generators[session] = np.random.default_rng([self.seed, int(task.get("number", 0))])

    def plan(self, queries: Sequence[Query]) -> list[np.ndarray]:
        return [self._chunk(self._generators[query.session]) for query in queries]

    def _chunk(self, rng: np.random.Generator) -> np.ndarray:
        pose = rng.uniform(-1, 1, (self.horizon, POSE_SIZE))
        return self.statistics.denormalise(pose, rng.uniform(-1, 1, self.horizon))


class ServedStill:
    """No motion, for simulators that play their own expert."""

    reads_state = reads_image = False

    def __init__(self, horizon: int):
        self.horizon = horizon

    def start_episode(self, session: str, task: Mapping[str, Any]) -> None:
        pass

    def plan(self, queries: Sequence[Query]) -> list[np.ndarray]:
        return [np.zeros((self.horizon, POSE_SIZE + 1)) for _ in queries]


class ServedReplay:
    """Replays the actions of demonstrations whose initial states are stored in the dataset.

    The actions are normalised and un-normalised, as those of a policy are. A replay shows whether recorded
    actions have the same effect in the simulator as when they were recorded. It tests polarity, scale and
    order on the whole path from the policy to the simulator. After the last recorded action, the robot stands
    still.
    """

    reads_state = reads_image = False

    def __init__(self, demonstrations: Path, statistics: Statistics, horizon: int):
        frames = read_demonstrations(demonstrations, images=False)
        self.horizon = horizon
        self._recorded = _actions_by_start(frames, statistics)
        self._remaining: dict[str, np.ndarray] = {}

    def start_episode(self, session: str, task: Mapping[str, Any]) -> None:
        start = (str(task.get("name")), int(task["state"]))
        if start not in self._recorded:
            raise UserError(
                f"there is no demonstration of {start[0]!r} from initial state {start[1]}: record one"
            )
        self._remaining[session] = self._recorded[start]

    def plan(self, queries: Sequence[Query]) -> list[np.ndarray]:
        return [self._next_chunk(query.session) for query in queries]

    def _next_chunk(self, session: str) -> np.ndarray:
        rest = self._remaining[session]
        still = np.zeros_like(rest[-1:])
        still[:, POSE_SIZE] = rest[-1, POSE_SIZE]
        self._remaining[session] = rest[self.horizon :] if len(rest) > self.horizon else still
        missing = max(self.horizon - len(rest), 0)
        return np.concatenate([rest[: self.horizon], np.repeat(still, missing, axis=0)])


def _actions_by_start(frames: DemonstrationSet, statistics: Statistics) -> dict[tuple[str, int], np.ndarray]:
    """Map (instruction, initial state) to actions (T, 7), as a policy without errors would output them."""
    files = files_of(frames.folder, "data/*/*.parquet")
    if any(INITIAL_STATE not in pq.read_schema(file).names for file in files):
        raise UserError(
            f"{frames.folder}/data: column {INITIAL_STATE!r} is missing: replay demonstrations that store "
            "the simulator's initial state of each episode"
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
