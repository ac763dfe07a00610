"""Record demonstrations of the package's own scripted experts on the real MetaWorld simulator."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vlm4vla.conventions.benchmarks import METAWORLD
from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators.demonstrations import Script, Scripted, open_adapter, record


def expert_script(policy: Any) -> Script:
    """The actions of an expert of `metaworld.policies`, in the study's form.

    The motion is clipped to [-1, 1], as the simulator clips it, and there is no rotation. An expert asks for
    a gripper effort from -1 to 1; the gripper closes (+1) for a positive effort and opens (-1) otherwise.
    """

    def act(observation: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the experts say at each step that the simulator clips
            chosen = policy.get_action(observation)
        closes = 1.0 if chosen[3] > 0 else -1.0
        return np.array([*np.clip(chosen[:3], -1, 1), 0, 0, 0, closes], dtype=np.float32)

    return act


def script_of(environment: str) -> Script:
    """The expert of an environment of the package, such as `drawer-open-v3`, for one episode."""
    experts = importlib.import_module("metaworld.policies").ENV_POLICY_MAP
    return expert_script(experts[environment]())


EXPERTS = Scripted(
    adapter="metaworld",
    title=METAWORLD.title,
    robot="sawyer",
    fps=80,  # MetaWorld's control rate
    states=("x", "y", "z", "gripper_opening"),
    max_steps=KNOWN["metaworld"].longest or 0,
    tasks=tuple(range(METAWORLD.tasks)),
    script=lambda simulator, described: script_of(described["environment"]),
)


def open_simulator(*, render: str = "cpu", seed: int = 0, **params: Any) -> Any:
    """Create the class that an evaluation uses.

    Raises UserError if metaworld or vla-eval is missing or has another version, or if MuJoCo cannot render.
    """
    simulator = open_adapter(EXPERTS.adapter, KNOWN[EXPERTS.adapter].adapter, render, env_seed=seed, **params)
    try:
        simulator.open(0)
    except importlib.import_module("vlm4vla_metaworld").CannotOpen as error:
        raise UserError(str(error)) from None
    return simulator


def record_dataset(output: Path, **settings: Any) -> int:
    """Record demonstrations (`demonstrations.record`), and return the number of solved episodes."""
    return record(output, EXPERTS, open_simulator, **settings)
