"""A policy's actions as its simulator takes them."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from vlm4vla.config.simulators import Simulator
from vlm4vla.conventions.actions import ACTION_SIZE, POSE_SIZE
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.evaluation.simulators.rotations import rotation_vectors

IN_A_ROW = 2  # such predictions before +1 is sent, in the study's released code


class Converter:
    """Actions in the convention of `benchmark` (vlm4vla.conventions.actions) to those of `simulator`."""

    def __init__(self, benchmark: str, simulator: Simulator):
        self._policy = gripper(benchmark)
        self._gripper = simulator.gripper
        self._known = simulator.convention

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """(..., 7) to (..., 7) float32. Raises ValueError for another size and for NaN."""
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape[-1:] != (ACTION_SIZE,):
            raise ValueError(f"an action has {ACTION_SIZE} numbers, the policy gave {actions.shape[-1:]}")
        if not np.isfinite(actions).all():
            raise ValueError("the policy gave NaN or infinity")
        position, rotation = actions[..., :3], actions[..., 3:POSE_SIZE] * self._known.radians
        if self._known.rotation == "rotation-vector":
            rotation = rotation_vectors(rotation)
        command = actions[..., POSE_SIZE:]
        opens = np.abs(command - self._policy.open) < np.abs(command - self._policy.close)
        hand = np.where(opens, self._gripper.open, self._gripper.close)
        return np.concatenate([position * self._known.metres, rotation, hand], axis=-1).astype(np.float32)


class GripperRule:
    """What becomes of the gripper commands of a session, in the order in which they are executed."""

    def __init__(self, rule: Literal["sign", "two-in-a-row"]):
        self.rule = rule
        self._highs: Counter[str] = Counter()

    def begin(self, session: str) -> None:
        """A new episode of `session`: nothing was predicted yet."""
        self._highs.pop(session, None)

    def __call__(self, session: str, actions: np.ndarray) -> np.ndarray:
        """Actions (T, 7) that will all be executed, with the commands that are sent."""
        if self.rule == "sign":
            return actions
        sent = actions.copy()
        for action in sent:
            self._highs[session] = self._highs[session] + 1 if action[POSE_SIZE] > 0 else 0
            action[POSE_SIZE] = 1 if self._highs[session] >= IN_A_ROW else -1
        return sent
