"""The protocol of an evaluation on a simulator, in one sentence that stands in every row."""

from __future__ import annotations

from vlm4vla.config.benchmarks import Protocol
from vlm4vla.config.simulators import OtherPolicy

RULES = {
    "sign": "",
    "two-in-a-row": " (+1 only after two such predictions in a row)",
}
EVENTS = {"any-step": "success at any step", "last-step": "success at the last step"}


def protocol_text(benchmark: str, evaluation: Protocol, other: OtherPolicy | None = None) -> str:
    """What the records of `evaluation` depend on. `other`: whose server answers, if it is not ours."""
    simulator = evaluation.simulator
    assert simulator is not None
    unit = "an instruction" if simulator.adapter == "calvin" else "an episode"
    steps = f"at most {evaluation.max_steps} steps {unit}"
    if isinstance(simulator.tasks, dict):
        own = [f"{name} {count}" for name, count in simulator.tasks.items()]
        steps = f"at most so many steps {unit}: {', '.join(own)}"
    hand = simulator.gripper
    idle = [f"after {simulator.idle_steps} idle steps"] if simulator.idle_steps else []
    parts = [
        EVENTS[simulator.success],
        steps,
        *idle,
        f"{(other or evaluation).execution_horizon} steps of a chunk executed",
        f"gripper {hand.open:+d} opens and {hand.close:+d} closes"
        + ("" if other else RULES[simulator.gripper_rule]),
        f"actions un-normalised by {other.unnormalisation if other else simulator.unnormalisation}"
        + (" (by its own server)" if other else ""),
        f"seeds {evaluation.seed} of the episodes and {simulator.environment_seed} of the environment",
    ]
    return f"{benchmark} ({simulator.adapter} through vla-eval): " + ", ".join(parts)
