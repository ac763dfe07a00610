"""A benchmark of vla-eval, cut to the episodes that one process is asked to play.

vla-eval counts a task's episodes from 0 and deals them out one by one. A job that goes on after a failure
wants those that are missing, and a simulator wants a task's episodes together; so this class stands around
any benchmark and shows each wanted episode as a task of its own. Called by vla-eval's orchestrator, which
builds it from the configuration that `vlm4vla.evaluation.simulators.harness` writes.

Also here, because vla-eval only warns of it: an action space other than the policy's ends the run at once.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from vla_eval.benchmarks.base import Benchmark
from vla_eval.registry import resolve_import_string

ACTION_SIZE = 7
SEPARATOR = " > "  # between the tasks of a chain


class ActionSpaceDiffers(Exception):
    """The adapter takes other actions than the policy's server sends."""


class Episodes(Benchmark):
    """`episodes` ({"task": index, "state": number, "number": n}) of the benchmark class `adapter`.

    `params`: its arguments. `sends`: what the policy's server sends, component to format; none: not checked.
    The remaining arguments are those that servers of others ask for; they are handed on to adapters that have
    them, and those in `params` win.
    """

    render_backends = frozenset({"gpu", "cpu"})
    _render = "gpu"

    @classmethod
    def configure_render(cls, mode: str) -> dict[str, str]:
        cls._render = mode  # the adapter is not known yet: see __init__
        return {}

    def __init__(
        self,
        adapter: str,
        episodes: list[dict[str, int]],
        params: dict[str, Any] | None = None,
        sends: dict[str, str] | None = None,
        send_state: bool | None = None,
        send_wrist_image: bool | None = None,
        quat_no_antipodal: bool | None = None,
        absolute_action: bool | None = None,
        control_mode: str | None = None,
        gripper_mode: str | None = None,
    ) -> None:
        asked = {
            "send_state": send_state,
            "send_wrist_image": send_wrist_image,
            "quat_no_antipodal": quat_no_antipodal,
            "absolute_action": absolute_action,
            "control_mode": control_mode,
            "gripper_mode": gripper_mode,
        }
        kind = resolve_import_string(adapter)
        if self._render not in kind.render_backends:
            raise ValueError(f"{adapter} cannot draw on a {self._render}")
        kind.configure_render(self._render)  # before the simulator is imported
        # of all its bases: a class that hands keywords on has them from there
        bases = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
        takes = {name for each in bases[:-1] for name in inspect.signature(each).parameters}
        asked = {key: value for key, value in asked.items() if value is not None and key in takes}
        self._benchmark = kind(**{**asked, **(params or {})})
        self._words = getattr(importlib.import_module(adapter.split(":")[0]), "LANG_ANNOTATIONS", {})
        self._episodes = episodes
        self._task: dict[str, Any] = {}
        self._instruction = ""
        if sends:
            self._check_actions(adapter, sends)

    def _check_actions(self, adapter: str, sends: dict[str, str]) -> None:
        try:
            spec = self._benchmark.get_action_spec()
        except NotImplementedError:
            return
        takes = {key: each.format for key, each in spec.items()}
        numbers = sum(each.dims for each in spec.values())
        if numbers != ACTION_SIZE or any(takes.get(key) != sends[key] for key in sends):
            shown = [", ".join(f"{key} {words[key]}" for key in sorted(words)) for words in (takes, sends)]
            raise ActionSpaceDiffers(
                f"{adapter} takes {shown[0]} ({numbers} numbers); the policy sends {shown[1]} ({ACTION_SIZE})"
            )

    def get_tasks(self) -> list[dict[str, Any]]:
        tasks = self._benchmark.get_tasks()
        for wanted in self._episodes:
            if wanted["task"] >= len(tasks):
                raise IndexError(f"task {wanted['task']} of {len(tasks)}")
        return [dict(tasks[wanted["task"]], **wanted) for wanted in self._episodes]

    async def start_episode(self, task: dict[str, Any], recorder: Any = None) -> None:
        self._task = task
        self._instruction = ""
        # vla-eval counts every task's only episode as 0; what the adapter wants is the initial state
        await self._benchmark.start_episode(dict(task, episode_idx=task["state"]), recorder=recorder)

    async def get_observation(self) -> dict[str, Any]:
        seen = await self._benchmark.get_observation()
        self._instruction = self._instruction or str(seen.get("task_description", ""))
        return seen

    async def apply_action(self, action: dict[str, Any]) -> None:
        await self._benchmark.apply_action(action)

    async def is_done(self) -> bool:
        return await self._benchmark.is_done()

    async def get_time(self) -> float:
        return await self._benchmark.get_time()

    async def get_result(self) -> dict[str, Any]:
        """The adapter's metrics, and of what: `solved` instructions, `task` and `instruction`, in a row where
        the episode is a chain."""
        metrics = dict(await self._benchmark.get_result())
        name, instruction = str(self._task.get("name", "")), self._instruction
        chain = self._task.get("eval_sequence")
        if chain:
            name = SEPARATOR.join(chain)
            instruction = SEPARATOR.join(self._words.get(each, each) for each in chain)
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
