"""Configurations of evaluations on real simulators for tests. The protocols are those of the study.

That of MetaWorld is ours."""

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.config.stages import RolloutSettings

LIBERO = {
    "adapter": "libero",
    "gripper": {"open": -1, "close": 1},
    "unnormalisation": "quantile",
    "success": "any-step",
    "idle_steps": 10,
}
CALVIN = {
    "adapter": "calvin",
    "gripper": {"open": 1, "close": -1},
    "unnormalisation": "range",
    "success": "any-step",
}
SIMPLERENV = {
    "adapter": "simplerenv",
    "gripper": {"open": 1, "close": -1},
    "gripper_rule": "two-in-a-row",
    "unnormalisation": "quantile",
    "success": "last-step",
    "tasks": {
        "widowx_carrot_on_plate": 60,
        "widowx_spoon_on_towel": 60,
        "widowx_stack_cube": 60,
        "widowx_put_eggplant_in_basket": 120,
    },
}
METAWORLD = {
    "adapter": "metaworld",
    "gripper": {"open": -1, "close": 1},
    "unnormalisation": "quantile",
    "success": "any-step",
}
PROTOCOLS = {
    "libero-10": (LIBERO, {"episodes": 50, "max_steps": 520, "execution_horizon": 2, "seed": 7}),
    "calvin": (CALVIN, {"episodes": 1000, "max_steps": 360, "execution_horizon": 10}),
    "bridge": (SIMPLERENV, {"episodes": 24, "max_steps": 60, "execution_horizon": 1}),
    "metaworld": (METAWORLD, {"episodes": 20, "max_steps": 200, "execution_horizon": 4}),
}


def protocol(benchmark, simulator=None, **changes):
    own, evaluation = PROTOCOLS[benchmark]
    return EvaluationProtocol(**{**evaluation, **changes, "simulator": own | (simulator or {})})


def rollout(benchmark, policy="vla", model="qwen2.5-vl-3b", simulator=None, size=64, **changes):
    return RolloutSettings(
        policy=policy,
        backbone=model,
        variant="full",
        benchmark=benchmark,
        seed=0,
        evaluation=protocol(benchmark, simulator, **changes),
        image_size=size,
        study="test",
        scale="smoke",
    )
