"""The policy server: vla-eval's simulators ask it over a socket, and it answers them together.

`vlm4vla.evaluation.simulators.harness` starts it with `python -m`, in an environment that has vla-eval and
this package. Listens where it is told; the caller tells it the loopback unless configured
otherwise (vla-eval's own servers would listen everywhere).
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
from vlm4vla.evaluation.simulators import served
from vlm4vla.evaluation.simulators.actions import Converter, GripperRule
from vlm4vla.evaluation.simulators.harness import sent_actions
from vlm4vla.evaluation.simulators.pictures import fitted

if TYPE_CHECKING:
    from vla_eval.model_servers.base import SessionContext

SIZES = {"position": 3, "rotation": 3, "gripper": 1}
RESTART = "episode_restart"  # CALVIN's adapter says so when the next instruction of a chain begins
WAIT_S = 0.02  # for further questions before a batch is answered


class PolicyServer(PredictModelServer):
    """`policy` behind vla-eval's protocol, for the evaluation that `settings` describe.

    vla-eval calls `predict_batch` when a session has no action left, keeps the first `execution_horizon`
    actions of the chunk, and hands them out one a step.
    """

    def __init__(self, policy: served.Policy, settings: RolloutSettings):
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
        self._convert = Converter(settings.benchmark, simulator)
        self._rule = GripperRule(simulator.gripper_rule)

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        self._rule.begin(ctx.session_id)
        self.policy.begin(ctx.session_id, config.get("task", {}))
        await super().on_episode_start(config, ctx)

    async def on_observation(self, obs: dict[str, Any], ctx: SessionContext) -> None:
        if obs.get(RESTART):  # another instruction: what is left of the plan was for the last one
            self._chunk_buffers.pop(ctx.session_id, None)
            self._rule.begin(ctx.session_id)
        await super().on_observation(obs, ctx)

    def predict_batch(
        self, obs_batch: list[dict[str, Any]], ctx_batch: list[SessionContext]
    ) -> list[dict[str, np.ndarray]]:
        """Chunks (execution_horizon, 7) in the simulator's convention."""
        asked = [self._asked(obs, ctx) for obs, ctx in zip(obs_batch, ctx_batch, strict=True)]
        answers = []
        for question, chunk in zip(asked, self.policy.plan(asked), strict=True):
            actions = self._convert(chunk[: self.horizon])
            answers.append({"actions": self._rule(question.session, actions)})
        return answers

    def _asked(self, obs: dict[str, Any], ctx: SessionContext) -> served.Asked:
        if obs.get("picture_age", 0):
            raise ValueError(
                f"asked to plan from a picture that is {obs['picture_age']} steps old: the simulator draws "
                f"every look_every steps, the server executes {self.horizon}"
            )
        camera, pictures = self.simulator.convention.camera, obs["images"]
        if camera is not None and camera not in pictures:
            raise ValueError(f"the simulator sent no picture of {camera!r}, only {', '.join(pictures)}")
        picture = pictures[camera] if camera is not None else next(iter(pictures.values()))
        state = obs.get("states")
        return served.Asked(
            ctx.session_id,
            fitted(picture, self.size),
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
        """What the simulator is asked to send; axis-angles as robosuite has them, and LIBERO's data sets."""
        return {"send_state": True, "quat_no_antipodal": True} if self.policy.reads_state else {}


def policy_of(settings: RolloutSettings, vla: Path | None, demonstrations: Path | None) -> served.Policy:
    """Who answers: `settings.policy` is vla (needs `vla`), random or expert, which is recorded actions (both
    need `demonstrations`). Raises UserError where what it needs is missing or does not fit."""
    evaluation = settings.evaluation
    assert evaluation.simulator is not None
    kind = evaluation.simulator.unnormalisation
    if settings.policy == "vla":
        assert vla is not None
        return served.Vla(vla, settings.benchmark, kind, evaluation.seed)
    if demonstrations is None:
        raise UserError(f"--demonstrations: the {settings.policy} policy needs the folder of a data set")
    from vlm4vla.actions.normalisation import Statistics
    from vlm4vla.data.lerobot.reader import read

    stats = read(demonstrations, images=False).stats
    statistics = Statistics.from_stats(stats, kind, settings.benchmark)
    if settings.policy == "random":
        return served.Random(statistics, evaluation.seed, evaluation.execution_horizon)
    return served.Replay(demonstrations, statistics, evaluation.execution_horizon)


def main() -> int:
    """Serve until killed. A user's mistake is one line on standard error and exit status 1."""
    parser = argparse.ArgumentParser(prog="vlm4vla.evaluation.simulators.server")
    parser.add_argument("--settings", required=True, help="the rollout's settings, as JSON")
    parser.add_argument("--vla", type=Path)
    parser.add_argument("--demonstrations", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    settings = RolloutSettings.model_validate_json(arguments.settings)
    try:
        policy = policy_of(settings, arguments.vla, arguments.demonstrations)
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
