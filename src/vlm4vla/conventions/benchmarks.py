"""The facts about each benchmark: one record for each built-in one, and the same record for a user's own.

Sources: the pages of CALVIN, SimplerEnv and LIBERO for chains, tasks and dataset sizes; arXiv 2601.03309
for the trials behind its tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from vlm4vla.conventions.actions import Gripper
from vlm4vla.core import registry

AVERAGE_LENGTH, SUCCESS_RATE = "average_length", "success_rate"


@dataclass(frozen=True)
class BenchmarkFacts:
    """Everything about a benchmark that other packages need to know.

    A user's own benchmark has the first four fields; the class that it registers provides them.
    """

    name: str
    title: str
    """Name in tables and figures."""
    gripper: Gripper | None
    """The values that open and close the gripper in the benchmark's actions."""
    instructions_per_episode: int = 1
    """More than one for a chain: the next instruction starts when the one before is solved."""

    # Only of the built-in benchmarks.
    embedded_class: str = ""
    """`module:Class` of the embedded benchmark; empty if there is none."""
    paper_title: str = ""
    """Name of the real benchmark, as the paper evaluates on it."""
    tasks: int = 1
    """Number of tasks; `evaluation.episodes` counts initial states of each."""
    paper_trials: int = 0
    """Episodes behind each of the paper's numbers."""
    paper_column: str = ""
    """Column of workflow/published/main.csv and freeze.csv."""
    paper_factor: float = 1.0
    """Converts a number of that column into the unit of our tables."""
    simulator_steps_per_second: float = 0.0
    """Of one environment of the real simulator that renders one camera on a shared x86-64 core (November
    2026). LIBERO and CALVIN were measured; SimplerEnv is assumed to be as slow as the slower of the two."""
    dataset_bytes: float = 0.0
    """Size of the public demonstrations, as their page states it."""
    raw_format: str | None = None
    """Argument of `vlm4vla convert` for the raw demonstrations."""
    embedded_units: tuple[float, float] | None = None
    """Metres and radians of a motion and a rotation of 1, in actions of the embedded benchmark."""
    real_units: tuple[float, float] | None = None
    """The same of the real benchmark's dataset. CALVIN: relative actions are multiplied by 50 and 20 (page of
    the dataset). LIBERO: robosuite's OSC_POSE controller. Bridge V2 stores metres and radians. MetaWorld:
    the target of the hand moves by 1 cm, and never turns."""

    @property
    def is_chain(self) -> bool:
        return self.instructions_per_episode > 1

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that tables report; the first one is the benchmark's score."""
        if not self.is_chain:
            return (SUCCESS_RATE,)
        return (AVERAGE_LENGTH, *(f"success_at_{n}" for n in range(1, self.instructions_per_episode + 1)))

    @property
    def score_metric(self) -> str:
        """The metric that summarises the benchmark: average length for chains, success rate otherwise."""
        return self.metrics[0]

    def maximum(self, metric: str) -> float:
        """The largest possible value of `metric`."""
        return float(self.instructions_per_episode) if metric == AVERAGE_LENGTH else 1.0


CALVIN = BenchmarkFacts(
    name="calvin",
    title="CALVIN",
    gripper=Gripper(open=1.0, close=-1.0),
    instructions_per_episode=5,  # the long-horizon protocol
    embedded_class="vlm4vla.benchmarks.calvin:Calvin",
    paper_title="CALVIN ABC-D",
    paper_trials=1000,
    paper_column="calvin_abcd_avg_len",
    simulator_steps_per_second=18.0,
    dataset_bytes=517e9,
    raw_format="calvin",
    embedded_units=(0.11, 0.6),
    real_units=(0.02, 0.05),
)
BRIDGE = BenchmarkFacts(
    name="bridge",
    title="Bridge",
    gripper=Gripper(open=1.0, close=0.0),  # of the Bridge data
    embedded_class="vlm4vla.benchmarks.bridge:Bridge",
    paper_title="SimplerEnv Bridge",
    tasks=4,
    paper_trials=4 * 24,
    paper_column="simpler_bridge_success",
    paper_factor=0.01,
    simulator_steps_per_second=12.0,
    dataset_bytes=124e9,
    embedded_units=(1.0, 1.0),
    real_units=(1.0, 1.0),
)
LIBERO_10 = BenchmarkFacts(
    name="libero-10",
    title="LIBERO-10",
    gripper=Gripper(open=-1.0, close=1.0),  # of robosuite
    embedded_class="vlm4vla.benchmarks.libero:Libero",
    paper_title="LIBERO-10",
    tasks=10,
    paper_trials=10 * 50,
    paper_column="libero_10_success",
    paper_factor=0.01,
    simulator_steps_per_second=12.0,
    dataset_bytes=12e9,
    raw_format="libero",
    embedded_units=(0.08, 0.5),
    real_units=(0.05, 0.5),
)

METAWORLD = BenchmarkFacts(
    name="metaworld",
    title="MetaWorld",
    gripper=Gripper(open=-1.0, close=1.0),
    tasks=10,
    simulator_steps_per_second=60.0,
    real_units=(0.01, 0.0),
)

BENCHMARKS: dict[str, BenchmarkFacts] = {each.name: each for each in (CALVIN, BRIDGE, LIBERO_10)}
"""The benchmarks of the study. Each has an embedded benchmark."""
ONLY_REAL: dict[str, BenchmarkFacts] = {METAWORLD.name: METAWORLD}
"""Further benchmarks, which exist on their real simulator only."""


def facts(benchmark: str) -> BenchmarkFacts:
    """The record of a built-in benchmark, or one made from the class that a user's file registers.

    A name that neither knows (a row of a table that concerns no benchmark; results of another user's
    extension) is treated as a benchmark of one instruction per episode.
    """
    built_in = BENCHMARKS.get(benchmark) or ONLY_REAL.get(benchmark)
    if built_in is not None:
        return built_in
    own = registry.find("benchmark", benchmark)
    if own is None:
        return BenchmarkFacts(benchmark, benchmark, None)
    units = (getattr(own, "position_unit", None), getattr(own, "rotation_unit", None))
    return BenchmarkFacts(
        benchmark,
        own.title or benchmark,
        own.gripper,
        own.instructions_per_episode,
        embedded_units=None if None in units else units,
    )


def gripper(benchmark: str) -> Gripper:
    """The gripper convention of `benchmark`. KeyError names the known benchmarks."""
    found = facts(benchmark).gripper
    if found is None:
        known = ", ".join([*BENCHMARKS, *ONLY_REAL, *registry.names("benchmark")])
        raise KeyError(f"no gripper convention for {benchmark!r}; known: {known}")
    return found


def metrics(benchmark: str) -> tuple[str, ...]:
    """The metrics of `benchmark`; the first one is its score."""
    return facts(benchmark).metrics


def score_metric(benchmark: str) -> str:
    """The metric that summarises `benchmark`: average length for chains, success rate otherwise."""
    return facts(benchmark).score_metric


def maximum(benchmark: str, metric: str) -> float:
    """The largest possible value of `metric` on `benchmark`."""
    return facts(benchmark).maximum(metric)
