"""The policy server: answers the queries of vla-eval's simulators, which come over a socket, in batches.

`vlm4vla.evaluation.simulators.harness` starts the server with `python -m`, in an environment that has
vla-eval and this package. The server listens on `--host` only. By default, the harness passes the loopback
address; vla-eval's own servers would listen on all interfaces.
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
from vlm4vla.evaluation.simulators.conversions import ActionConverter, GripperRule, fit_image
from vlm4vla.evaluation.simulators.harness import sent_actions
from vlm4vla.evaluation.simulators.served_policies import (
    Query,
    ServedPolicy,
    ServedRandom,
    ServedReplay,
    ServedVla,
    read_statistics,
)

if TYPE_CHECKING:
    from vla_eval.model_servers.base import SessionContext

SIZES = {"position": 3, "rotation": 3, "gripper": 1}
RESTART = "episode_restart"  # set by CALVIN's adapter when the next instruction of a chain begins
WAIT_S = 0.02  # seconds in which further queries can join a batch


class PolicyServer(PredictModelServer):
    """Serves `policy` with vla-eval's protocol, for the evaluation that `settings` describe.

    vla-eval calls `predict_batch` when a session has no actions left. It keeps the first `execution_horizon`
    actions of the chunk and sends the simulator one action per step.
    """

    def __init__(self, policy: ServedPolicy, settings: RolloutSettings):
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

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        self._rule.reset(ctx.session_id)
        self.policy.start_episode(ctx.session_id, config.get("task", {}))
        await super().on_episode_start(config, ctx)

    async def on_observation(self, obs: dict[str, Any], ctx: SessionContext) -> None:
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
        if obs.get("image_age", 0):
            raise ValueError(
                f"the image of a query is {obs['image_age']} steps old: look_every of the simulator must be "
                f"{self.horizon}, the number of actions executed of a chunk"
            )
        camera, images = self.simulator.convention.camera, obs["images"]
        if camera is not None and camera not in images:
            raise ValueError(f"the simulator sent no image of {camera!r}, only of {', '.join(images)}")
        image = images[camera] if camera is not None else next(iter(images.values()))
        state = obs.get("states")
        return Query(
            ctx.session_id,
            fit_image(image, self.size),
            str(obs["task_description"]),
            None if state is None else np.asarray(state, dtype=np.float32),
        )

    def get_action_spec(self) -> dict[str, DimSpec]:
        return {
            name: DimSpec(name, SIZES[name], words) for name, words in sent_actions(self.simulator).items()
        }

    def get_observation_spec(self) -> dict[str, DimSpec]:
        return {self.simulator.convention.camera or "image": IMAGE_RGB, "language": LANGUAGE}

    def get_observation_params(self) -> dict[str, Any]:
        """Options of the observations. Rotations are axis-angles as in robosuite and in LIBERO's datasets."""
        return {"send_state": True, "quat_no_antipodal": True} if self.policy.reads_state else {}


def load_policy(settings: RolloutSettings, vla: Path | None, demonstrations: Path | None) -> ServedPolicy:
    """The policy that `settings.policy` names.

    `vla` is a trained policy and needs the folder `vla`. `random` and `expert`, which replays recorded
    actions, need the folder `demonstrations`. Raises UserError if the folder is missing or does not fit.
    """
    evaluation = settings.evaluation
    assert evaluation.simulator is not None
    kind = evaluation.simulator.unnormalisation
    if settings.policy == "vla":
        assert vla is not None
        return ServedVla(vla, settings.benchmark, kind, evaluation.seed, evaluation.centre_crop)
    if demonstrations is None:
        raise UserError(f"--demonstrations: the {settings.policy} policy needs the folder of a dataset")
    statistics = read_statistics(demonstrations, kind, settings.benchmark)
    if settings.policy == "random":
        return ServedRandom(statistics, evaluation.seed, evaluation.execution_horizon)
    return ServedReplay(demonstrations, statistics, evaluation.execution_horizon)


def main() -> int:
    """Serve until killed. After a UserError, print one line on standard error and return exit status 1."""
    parser = argparse.ArgumentParser(prog="vlm4vla.evaluation.simulators.server")
    parser.add_argument("--settings", required=True, help="the rollout's settings, as JSON")
    parser.add_argument("--vla", type=Path)
    parser.add_argument("--demonstrations", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    settings = RolloutSettings.model_validate_json(arguments.settings)
    try:
        policy = load_policy(settings, arguments.vla, arguments.demonstrations)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    from vla_eval.model_servers.serve import serve

    print(f"policy server: {settings.backbone} on {arguments.host}:{arguments.port}", flush=True)
    serve(PolicyServer(policy, settings), host=arguments.host, port=arguments.port)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
