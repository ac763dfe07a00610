"""A policy, an observation and settings for tests of the policy server."""

import numpy as np
from simulator_examples import rollout

POINT = {
    "adapter": "still_world:Point",
    "gripper": {"open": -1, "close": 1},
    "unnormalisation": "range",
    "success": "any-step",
    "idle_steps": 0,
    "tasks": [0, 2],
}


def settings(policy="expert", params=None, runs=None, **changes):
    """A rollout on the benchmark of still_world.py."""
    simulator = POINT | {"params": params or {}, "runs": {"answer_s": 300} | (runs or {})}
    changes = {"episodes": 3, "max_steps": 12, "execution_horizon": 2} | changes
    return rollout("libero-10", policy=policy, model=policy, simulator=simulator, size=32, **changes)


class RecordingPolicy:
    """A policy that keeps the queries that it gets."""

    reads_state, reads_image = False, True

    def __init__(self):
        self.started, self.batches = [], []

    def start_episode(self, session, task):
        self.started.append((session, task))

    def plan(self, queries):
        self.batches.append(queries)
        return [np.tile(np.arange(7.0) / 10, (4, 1)) for _ in queries]


def observation(**more):
    return {"images": {"front": np.zeros((50, 40, 3), np.uint8)}, "task_description": "go", **more}
