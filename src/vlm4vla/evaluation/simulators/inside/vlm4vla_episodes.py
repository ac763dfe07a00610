"""A wrapper around a benchmark of vla-eval that runs chosen episodes only.

vla-eval numbers the episodes of a task from 0 and runs all of them. But a resumed job must run the missing
episodes only, and a simulator is faster when it runs the episodes of a task together. So this wrapper
presents each chosen episode to vla-eval as a task with one episode. vla-eval's orchestrator creates the
wrapper from the configuration that `vlm4vla.evaluation.simulators.harness` writes.

The wrapper also seeds each episode by itself, and ends the run if the adapter's action space differs from the
policy's. vla-eval only warns of such a difference.
"""

from __future__ import annotations

import hmac
import importlib
import inspect
from typing import Any

from vla_eval.benchmarks.base import Benchmark
from vla_eval.registry import resolve_import_string
from vlm4vla_seeds import episode_seed, forget_episodes, seed_generators

ACTION_SIZE = 7
SEPARATOR = " > "  # between the tasks of a chain, as in vlm4vla.conventions.episodes


class ActionSpaceDiffers(Exception):
    """The adapter expects other actions than the policy server sends."""


class AnotherServer(Exception):
    """An answer came from another server than that of this job, so it may come from another policy."""


class ChosenEpisodes(Benchmark):
    """Runs chosen episodes of the benchmark class `adapter` ("module:Class").

    `episodes`: a list of {"task": index of the task, "state": number of the initial state, "number": number
    of the episode in the study}. `params`: the arguments of `adapter`. `seed`: the seed of the evaluation.
    `sends`: the format of each component of the actions that the policy server sends; without it, the action
    space is not checked. `expects`: what the server of this job sends as `proof` when a simulator connects,
    and with each answer; without it, every server is accepted. The remaining arguments are options that model
    servers can set. The wrapper passes them on to an adapter that has them, unless `params` sets them.

    Before each episode, the global generators are seeded with the seed of this episode alone (the seed of
    the evaluation, the task and the initial state). An adapter with an attribute `env_seed` (vla-eval's
    classes for LIBERO and its variants) gets the seed there, too, unless it seeds its episodes itself.
    """

    render_backends = frozenset({"gpu", "cpu"})
    _render = "gpu"

    @classmethod
    def configure_render(cls, mode: str) -> dict[str, str]:
        cls._render = mode  # passed on in __init__, where the adapter is known
        return {}

    def __init__(
        self,
        adapter: str,
        episodes: list[dict[str, int]],
        params: dict[str, Any] | None = None,
        seed: int = 0,
        sends: dict[str, str] | None = None,
        expects: str | None = None,
        proof: str | None = None,
        send_state: bool | None = None,
        send_wrist_image: bool | None = None,
        quat_no_antipodal: bool | None = None,
        absolute_action: bool | None = None,
        control_mode: str | None = None,
        gripper_mode: str | None = None,
    ) -> None:
        options = {
            "send_state": send_state,
            "send_wrist_image": send_wrist_image,
            "quat_no_antipodal": quat_no_antipodal,
            "absolute_action": absolute_action,
            "control_mode": control_mode,
            "gripper_mode": gripper_mode,
        }
        self._expects = expects
        self._check_server(proof)
        kind = resolve_import_string(adapter)
        if self._render not in kind.render_backends:
            raise ValueError(f"{adapter} cannot render on a {self._render}")
        kind.configure_render(self._render)  # before the simulator is imported
        # Look at all base classes too, because an adapter can pass keywords on to them.
        constructors = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
        parameters = {name for each in constructors[:-1] for name in inspect.signature(each).parameters}
        options = {key: value for key, value in options.items() if value is not None and key in parameters}
        self._benchmark = kind(**{**options, **(params or {})})
        self._instructions = getattr(importlib.import_module(adapter.split(":")[0]), "LANG_ANNOTATIONS", {})
        self._episodes = episodes
        self._own_seed = hasattr(self._benchmark, "env_seed") and not hasattr(kind, "seeds_episodes")
        self._seed = int(self._benchmark.env_seed) if self._own_seed else seed
        self._task: dict[str, Any] = {}
        self._instruction = ""
        if sends:
            self._check_actions(adapter, sends)

    def _check_server(self, proof: Any) -> None:
        """Raise AnotherServer if `proof` is not what this job's server sends."""
        if self._expects is None:
            return
        if not isinstance(proof, str) or not hmac.compare_digest(proof.encode(), self._expects.encode()):
            raise AnotherServer("the policy server is not that of this job: none of its actions is executed")

    def _check_actions(self, adapter: str, sends: dict[str, str]) -> None:
        try:
            spec = self._benchmark.get_action_spec()
        except NotImplementedError:
            return
        expects = {key: each.format for key, each in spec.items()}
        numbers = sum(each.dims for each in spec.values())
        if numbers != ACTION_SIZE or any(expects.get(key) != sends[key] for key in sends):
            expected, sent = (
                ", ".join(f"{key} {formats[key]}" for key in sorted(formats)) for formats in (expects, sends)
            )
            raise ActionSpaceDiffers(
                f"{adapter} expects {expected} ({numbers} numbers); the policy sends {sent} ({ACTION_SIZE})"
            )

    def get_tasks(self) -> list[dict[str, Any]]:
        tasks = self._benchmark.get_tasks()
        for episode in self._episodes:
            if episode["task"] >= len(tasks):
                raise IndexError(f"task {episode['task']} does not exist: there are {len(tasks)} tasks")
        return [dict(tasks[episode["task"]], **episode) for episode in self._episodes]

    async def start_episode(self, task: dict[str, Any], recorder: Any = None) -> None:
        self._task = task
        self._instruction = ""
        # To vla-eval, each task has one episode, number 0. The adapter needs the number of the initial state.
        episode = dict(task, episode_idx=task["state"])
        opened = getattr(self._benchmark, "_env", None)
        self._seed_episode(task)
        await self._benchmark.start_episode(episode, recorder=recorder)
        if self._own_seed and getattr(self._benchmark, "_env", None) is not opened:
            # The adapter has opened a new environment, which has already been reset once when it was made.
            self._seed_episode(task)
            await self._benchmark.start_episode(episode, recorder=recorder)

    def _seed_episode(self, task: dict[str, Any]) -> None:
        seed = episode_seed(self._seed, task["task"], task["state"])
        if self._own_seed:
            self._benchmark.env_seed = seed  # the adapter seeds with it when it opens another task
        forget_episodes(getattr(self._benchmark, "_env", None))
        seed_generators(seed)

    async def get_observation(self) -> dict[str, Any]:
        observation = await self._benchmark.get_observation()
        self._instruction = self._instruction or str(observation.get("task_description", ""))
        return observation

    async def apply_action(self, action: dict[str, Any]) -> None:
        """Execute an answer of this job's server. Raises AnotherServer for any other answer."""
        self._check_server(action.get("proof"))
        await self._benchmark.apply_action({name: action[name] for name in action if name != "proof"})

    async def is_done(self) -> bool:
        return await self._benchmark.is_done()

    async def get_time(self) -> float:
        return await self._benchmark.get_time()

    async def get_result(self) -> dict[str, Any]:
        """The adapter's metrics, and `solved` (number of instructions), `task` and `instruction`.

        In an episode that is a chain, `task` and `instruction` are those of the whole chain.
        """
        metrics = dict(await self._benchmark.get_result())
        name, instruction = str(self._task.get("name", "")), self._instruction
        chain = self._task.get("eval_sequence")
        if chain:
            name = SEPARATOR.join(chain)
            instruction = SEPARATOR.join(self._instructions.get(each, each) for each in chain)
        success = bool(metrics.get("success", False))
        solved = int(metrics.get("completed_subtasks", success))
        return {**metrics, "success": success, "solved": solved, "task": name, "instruction": instruction}

    def get_metadata(self) -> dict[str, Any]:
        return self._benchmark.get_metadata()

    def get_metric_keys(self) -> dict[str, str]:
        return self._benchmark.get_metric_keys()

    def get_action_spec(self) -> dict[str, Any]:
        return self._benchmark.get_action_spec()

    def get_observation_spec(self) -> dict[str, Any]:
        return self._benchmark.get_observation_spec()

    def cleanup(self) -> None:
        self._benchmark.cleanup()
