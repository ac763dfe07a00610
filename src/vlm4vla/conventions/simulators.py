"""What each simulator takes and gives, as vla-eval 0.8.0 drives it.

Sources: the adapters of vla-eval and its list of pitfalls; calvin_env's robot (`max_rel_pos`,
`max_rel_orn`); the CALVIN data set's page (relative actions are multiplied by 50 and 20, the gripper opens
at +1); robosuite's Panda gripper (closes at +1); SimplerEnv's own policy wrappers (WidowX opens at +1,
rotation is a rotation vector, a trial succeeds when the last step does).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlm4vla.conventions.actions import Gripper

EVENT = Literal["any-step", "last-step"]
HARNESS = "vla-eval"
HARNESS_VERSION = "0.8.0"
HARNESS_MODULE = "vla_eval"


@dataclass(frozen=True)
class Convention:
    """One simulator.

    `benchmark`: whose policies it is for. `adapter`: vla-eval's class for it. `own`: ours in its place,
    where the simulator is no container. `module`: what must be installed. `gripper`: what opens and closes.
    `metres`, `radians`: what 1 of the policy's motion and rotation is, in the simulator's units.
    `rotation`: what it takes for the policy's Euler angles. `camera`: the third-person picture. `success`:
    the events that the adapter can count. `declares`: the adapter's own words
    for its actions. `tasks`: how many it has, if that is fixed.
    """

    benchmark: str | None
    adapter: str
    own: str | None
    module: str | None
    gripper: Gripper | None
    metres: float = 1.0
    radians: float = 1.0
    rotation: Literal["as-is", "rotation-vector"] = "as-is"
    camera: str | None = None
    success: tuple[EVENT, ...] = ("any-step", "last-step")
    declares: tuple[tuple[str, str], ...] = ()
    tasks: int | None = None


KNOWN: dict[str, Convention] = {
    "libero": Convention(
        benchmark="libero-10",
        adapter="vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark",
        own="vlm4vla_libero:Libero",
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
    ),
    "calvin": Convention(
        benchmark="calvin",
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
        benchmark="bridge",
        adapter="vla_eval.benchmarks.simpler.benchmark:SimplerEnvBenchmark",
        own=None,
        module="simpler_env",
        gripper=Gripper(open=1.0, close=-1.0),
        rotation="rotation-vector",
        camera="primary",
        # Said of all its robots: WidowX opens at +1 all the same, and rotations reach the controller as sent.
        declares=(
            ("position", "delta_xyz"),
            ("rotation", "euler_xyz"),
            ("gripper", "binary_close_positive"),
        ),
    ),
}


def convention(adapter: str) -> Convention:
    """What is known of `adapter`; of a user's own (`module:Class`) nothing."""
    return KNOWN.get(adapter) or Convention(None, adapter, None, adapter.split(":")[0].split(".")[0], None)
