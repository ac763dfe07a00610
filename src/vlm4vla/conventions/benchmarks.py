"""What is fixed of the benchmarks: names, grippers, chains, metrics."""

from __future__ import annotations

from vlm4vla.conventions.actions import Gripper
from vlm4vla.core import registry

# CALVIN: +1 opens; Bridge data: 1 opens, 0 closes; LIBERO (robosuite): +1 closes.
GRIPPERS: dict[str, Gripper] = {
    "calvin": Gripper(open=1.0, close=-1.0),
    "bridge": Gripper(open=1.0, close=0.0),
    "libero-10": Gripper(open=-1.0, close=1.0),
}


def gripper(benchmark: str) -> Gripper:
    """The gripper convention of `benchmark`, built in or of the user's own; KeyError names the known ones."""
    if benchmark in GRIPPERS:
        return GRIPPERS[benchmark]
    own = registry.find("benchmark", benchmark)
    if own is None:
        known = ", ".join([*GRIPPERS, *registry.names("benchmark")])
        raise KeyError(f"no gripper convention for {benchmark!r}; known: {known}")
    return own.gripper


BENCHMARKS = ("calvin", "bridge", "libero-10")


INSTRUCTIONS_IN_A_CHAIN = 5  # CALVIN's long-horizon protocol


class _Metrics(dict[str, tuple[str, ...]]):
    """By benchmark. One that is not named, a user's own, has one instruction an episode and so a rate."""

    def __missing__(self, benchmark: str) -> tuple[str, ...]:
        return ("success_rate",)


METRICS = _Metrics(
    {
        "calvin": ("average_length", *(f"success_at_{count}" for count in range(1, 6))),
        "bridge": ("success_rate",),
        "libero-10": ("success_rate",),
    }
)


MAXIMUM = {"average_length": 5.0, "success_rate": 1.0}


def score_metric(benchmark: str) -> str:
    """The one metric that stands for a benchmark: average length on chains, success rate elsewhere."""
    return METRICS[benchmark][0]
