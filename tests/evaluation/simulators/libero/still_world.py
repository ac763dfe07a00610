"""A small benchmark of vla-eval, a point that moves, so that tests of servers and failures take seconds.

It runs in a simulator process, which finds it through PYTHONPATH, as it finds a user's own class.
"""

import os
import time

import numpy as np
from vla_eval import specs
from vla_eval.benchmarks.base import StepBenchmark, StepResult

GOAL = 0.5


class Point(StepBenchmark):
    """Solved when the point has moved by `GOAL` along x and the gripper closes. Images show its position."""

    render_backends = frozenset({"gpu", "cpu"})

    @classmethod
    def configure_render(cls, mode):
        return {}

    def __init__(self, opens=False, pause=0.0, mark=""):
        super().__init__()
        self.opens, self.pause, self.mark = opens, pause, mark

    def get_tasks(self):
        return [{"name": f"go to place {n}", "suite": "points", "task_id": n} for n in range(3)]

    def reset(self, task):
        if self.mark:  # the process number, so that a test can end this process
            with open(self.mark, "w") as handle:
                handle.write(str(os.getpid()))
        self.x = 0.01 * task["episode_idx"]
        return self.x

    def step(self, action):
        time.sleep(self.pause)
        values = np.asarray(action["actions"], dtype=float)
        assert values.shape == (7,)
        self.x += 0.1 * values[0]
        done = bool(self.x >= GOAL and values[6] > 0)
        self._recorder.record_step(done=done)
        return StepResult(obs=self.x, reward=float(done), done=done, info={})

    def make_obs(self, raw_obs, task):
        image = np.full((32, 32, 3), int(min(max(raw_obs, 0), 1) * 255), dtype=np.uint8)
        return {"images": {"front": image}, "task_description": task["name"]}

    def get_step_result(self, step_result):
        return {"success": step_result.done}

    def get_action_spec(self):
        gripper = specs.GRIPPER_CLOSE_NEG if self.opens else specs.GRIPPER_CLOSE_POS
        return {"position": specs.POSITION_DELTA, "rotation": specs.ROTATION_AA, "gripper": gripper}

    def get_observation_spec(self):
        return {"front": specs.IMAGE_RGB, "language": specs.LANGUAGE}
