"""The policy server: answers the queries of vla-eval's simulators, which come over a socket, in batches.

`vlm4vla.evaluation.simulators.harness` starts the server with `python -m`, in an environment that has
vla-eval and this package. The server listens on `--host` only, by default the loopback address; vla-eval's
own servers would listen on all interfaces. It binds its port before it loads the policy, writes the port to
`--address-file`, and answers only the simulators of its own job (job_keys.py, connections.py).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.specs import IMAGE_RGB, LANGUAGE, DimSpec

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators import connections, ports
from vlm4vla.evaluation.simulators.conversions import ActionConverter, GripperRule, fit_image
from vlm4vla.evaluation.simulators.episodes import filmed_episodes
from vlm4vla.evaluation.simulators.filming import Filming
from vlm4vla.evaluation.simulators.harness import sent_actions
from vlm4vla.evaluation.simulators.job_keys import JobKey
from vlm4vla.evaluation.simulators.served_policies import (
    Query,
    ServedPolicy,
    ServedRandom,
    ServedReleased,
    ServedReplay,
    ServedStill,
    ServedVla,
    read_statistics,
)

if TYPE_CHECKING:
    from vla_eval.model_servers.base import SessionContext

SIZES = {"position": 3, "rotation": 3, "gripper": 1}
RESTART = "episode_restart"  # set by CALVIN's adapter when the next instruction of a chain begins
WAIT_S = 0.02  # seconds in which further queries can join a batch
LONGEST = 10_000  # characters of an instruction


class PolicyServer(PredictModelServer):
    """Serves `policy` with vla-eval's protocol, for the evaluation that `settings` describe.

    vla-eval calls `predict_batch` when a session has no actions left. It keeps the first `execution_horizon`
    actions of the chunk and sends the simulator one action per step. `films`: the folder of the films.
    """

    def __init__(self, policy: ServedPolicy, settings: RolloutSettings, films: Path | None = None):
        evaluation = settings.evaluation
        simulator = evaluation.simulator
        assert simulator is not None
        super().__init__(
            chunk_size=evaluation.execution_horizon,
            max_batch_size=simulator.runs.processes,
            max_wait_time=WAIT_S,
        )
        self.policy = policy
        self.size = settings.image_size
        self.horizon = evaluation.execution_horizon
        self.simulator = simulator
        self._convert = ActionConverter(settings.benchmark, simulator)
        self._rule = GripperRule(simulator.gripper_rule)
        self._filming = Filming(films or Path(), filmed_episodes(evaluation) if films else ())

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        """Start an episode. Raises ValueError if its task has a number that is no integer."""
        number = config.get("task", {}).get("number", 0)
        if type(number) is not int or number < 0:
            raise ValueError(f"the number of an episode is {number!r}, not an integer of at least 0")
        self._rule.reset(ctx.session_id)
        self.policy.start_episode(ctx.session_id, config.get("task", {}))
        self._filming.begin(ctx.session_id, number)
        await super().on_episode_start(config, ctx)

    async def on_episode_end(self, result: dict[str, Any], ctx: SessionContext) -> None:
        """End an episode, and write its film if it has one."""
        self._filming.end(ctx.session_id)
        await super().on_episode_end(result, ctx)

    async def on_observation(self, obs: dict[str, Any], ctx: SessionContext) -> None:
        """Answer an observation. Raises ValueError for one that cannot be read, before it joins a batch."""
        self._image(obs)
        if obs.get(RESTART):  # the remaining actions of the chunk are for the previous instruction
            self._chunk_buffers.pop(ctx.session_id, None)
            self._rule.reset(ctx.session_id)
        await super().on_observation(obs, ctx)

    def predict_batch(
        self, obs_batch: list[dict[str, Any]], ctx_batch: list[SessionContext]
    ) -> list[dict[str, np.ndarray]]:
        """Action chunks (execution_horizon, 7) in the simulator's convention."""
        queries = [self._query(obs, ctx) for obs, ctx in zip(obs_batch, ctx_batch, strict=True)]
        answers = []
        for query, chunk in zip(queries, self.policy.plan(queries), strict=True):
            actions = self._convert(chunk[: self.horizon])
            answers.append({"actions": self._rule(query.session, actions)})
        return answers

    def _query(self, obs: dict[str, Any], ctx: SessionContext) -> Query:
        if self.policy.reads_image and obs.get("image_age", 0):
            raise ValueError(
                f"the image of a query is {obs['image_age']} steps old: look_every of the simulator must be "
                f"{self.horizon}, the number of actions executed of a chunk"
            )
        state = _state(obs["states"]) if self.policy.reads_state else None
        seen = self._image(obs)
        self._filming.look(ctx.session_id, seen)
        return Query(ctx.session_id, fit_image(seen, self.size), obs["task_description"], state)

    def _image(self, obs: dict[str, Any]) -> np.ndarray:
        """The policy's image (H, W, 3) uint8 of an observation whose parts have the right types."""
        images, words = obs.get("images"), obs.get("task_description")
        camera = self.simulator.convention.camera
        if not isinstance(images, dict) or not images:
            raise ValueError("an observation has no images")
        if camera is not None and camera not in images:
            names = ", ".join(map(str, images))
            raise ValueError(f"the simulator sent no image of {camera!r}, only of {names}")
        if not isinstance(words, str) or len(words) > LONGEST:
            raise ValueError(f"the instruction is not a text of at most {LONGEST} characters")
        if self.policy.reads_state:
            _state(obs.get("states"))
        image = images[camera] if camera is not None else next(iter(images.values()))
        if not isinstance(image, np.ndarray) or not image.size:
            raise ValueError("an image of the simulator is not an array (H, W, 3) uint8")
        return image

    def get_action_spec(self) -> dict[str, DimSpec]:
        return {
            name: DimSpec(name, SIZES[name], words) for name, words in sent_actions(self.simulator).items()
        }

    def get_observation_spec(self) -> dict[str, DimSpec]:
        return {self.simulator.convention.camera or "image": IMAGE_RGB, "language": LANGUAGE}

    def get_observation_params(self) -> dict[str, Any]:
        """Options of the observations. Rotations are axis-angles as in robosuite and in LIBERO's datasets."""
        return {"send_state": True, "quat_no_antipodal": True} if self.policy.reads_state else {}


def _state(values: Any) -> np.ndarray:
    """The robot's state, (S,) float32. Raises ValueError if it is missing or not finite."""
    try:
        state = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError("the robot's state is not a list of numbers") from None
    if state.ndim != 1 or not np.isfinite(state).all():
        raise ValueError("the robot's state is missing, or it is not a list of finite numbers")
    return state


def load_policy(settings: RolloutSettings, vla: Path | None, demonstrations: Path | None) -> ServedPolicy:
    """The policy that `settings.policy` names.

    `vla` is a released policy, or a trained one, which needs the folder `vla`. `random` and `expert`, which
    replays recorded actions, need the folder `demonstrations`. `script` is the simulator's own expert, which
    acts in the place of what it is sent. Raises UserError if the folder is missing or
    does not fit.
    """
    evaluation = settings.evaluation
    assert evaluation.simulator is not None
    kind = evaluation.simulator.unnormalisation
    if settings.released is not None:
        return ServedReleased(settings)
    if settings.policy == "vla":
        assert vla is not None
        return ServedVla(vla, settings.benchmark, kind, evaluation.seed, evaluation.centre_crop)
    if settings.policy == "script":
        return ServedStill(evaluation.execution_horizon)
    if demonstrations is None:
        raise UserError(f"--demonstrations: the {settings.policy} policy needs the folder of a dataset")
    statistics = read_statistics(demonstrations, kind, settings.benchmark)
    if settings.policy == "random":
        return ServedRandom(statistics, evaluation.seed, evaluation.execution_horizon)
    return ServedReplay(demonstrations, statistics, evaluation.execution_horizon)


def _settings(text: str) -> RolloutSettings:
    try:
        return RolloutSettings.model_validate_json(text)
    except ValueError as error:
        raise UserError(f"--settings: {connections.one_line(error)}") from None


def main() -> int:
    """Serve until killed. After a UserError, print one line on standard error and return exit status 1."""
    parser = argparse.ArgumentParser(prog="vlm4vla.evaluation.simulators.server")
    parser.add_argument("--settings", required=True, help="the rollout's settings, as JSON")
    parser.add_argument("--vla", type=Path)
    parser.add_argument("--demonstrations", type=Path)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (any free one)")
    parser.add_argument(
        "--address-file",
        type=Path,
        help="the file to which the host and port are written; films lie beside it",
    )
    arguments = parser.parse_args()
    connections.log_in_one_line()
    try:
        key = JobKey.from_environment()
        settings = _settings(arguments.settings)
        listening = ports.listen(arguments.host, arguments.port)  # before the policy, which takes minutes
        where = ports.address(*listening.getsockname()[:2])
        if arguments.address_file is not None:
            ports.announce(listening, arguments.address_file)
        policy = load_policy(settings, arguments.vla, arguments.demonstrations)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"policy server: {settings.backbone} on {where}", flush=True)
    films = arguments.address_file and arguments.address_file.parent
    connections.listen_forever(PolicyServer(policy, settings, films), key, listening)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
