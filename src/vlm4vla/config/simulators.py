"""Evaluation of a benchmark on its real simulator, through vla-eval: `benchmarks.B.evaluation.simulator`.

The keys that decide the numbers (gripper polarity, un-normalisation, success, idle steps, seeds) are
explicit, and are checked against the facts about the simulator. The key `runs` only says where and how
parallel it runs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from vlm4vla.config.base import Name, Positive, Seed, Strict
from vlm4vla.conventions.benchmarks import ONLY_REAL
from vlm4vla.conventions.simulators import Convention, convention

ADAPTER = r"^(libero|calvin|simplerenv|metaworld|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"
# Servers of vla-eval that run code from the folder of a checkpoint.
RUN_REMOTE_CODE = ("openvla", "cogact", "xvla")


class GripperPolarity(Strict):
    """The gripper commands of the simulator."""

    open: Literal[-1, 1] = Field(description="The command that opens the gripper.")
    close: Literal[-1, 1] = Field(description="The command that closes the gripper.")

    @model_validator(mode="after")
    def _differ(self) -> GripperPolarity:
        if self.open == self.close:
            raise ValueError(f"open and close are both {self.open}: write 1 for one and -1 for the other")
        return self


class ExternalPolicy(Strict):
    """A policy from other authors, which is not trained here but runs in a model server of vla-eval.

    In the tables, its results replace those of the expert VLA with the same name.
    """

    command: Annotated[list[str], Field(min_length=1)] = Field(
        description="Command that starts the server. `{host}` and `{port}` are replaced by its address."
    )
    checkpoint: Annotated[str, Field(min_length=1)] = Field(
        description="Name of the checkpoint. It is only recorded with the results."
    )
    execution_horizon: Positive = Field(
        description="Number of actions that the server executes per prediction. It is only recorded with the "
        "results."
    )
    unnormalisation: Annotated[str, Field(min_length=1)] = Field(
        description="How the server un-normalises actions. It is only recorded with the results."
    )
    remote_code: bool = Field(
        False, description="Allow the server to run code from the folder of the checkpoint."
    )

    @model_validator(mode="after")
    def _can_be_started(self) -> ExternalPolicy:
        words = " ".join(self.command)
        if "{port}" not in words or "{host}" not in words:
            raise ValueError(
                "command: has no {host} or no {port}: write both in the place of the server's address"
            )
        named = [name for name in RUN_REMOTE_CODE if name in words]
        if named and not self.remote_code:
            raise ValueError(
                f"command: the server {named[0]} runs code from its checkpoint's folder: write "
                "`remote_code: true` to allow this, or remove this policy"
            )
        return self


class SimulatorRuns(Strict):
    """Where the simulators run, and in how many jobs and processes. These keys do not change any result."""

    environment: str | None = Field(
        None,
        description="Folder of the virtual environment with the simulator and vla-eval. The default is the "
        "environment of the job.",
    )
    container: str | None = Field(
        None, description="Container image that vla-eval starts with docker. It replaces `environment`."
    )
    shards: Positive = Field(
        1, description="Number of jobs per evaluation. Each job has its own policy server."
    )
    processes: Positive = Field(1, description="Number of simulators per job. They share its policy server.")
    host: str = Field("127.0.0.1", description="Network address on which the policy server listens.")
    start_s: Positive = Field(900, description="Seconds within which the policy server must start.")
    answer_s: Positive = Field(120, description="Seconds within which the policy server must answer.")

    @model_validator(mode="after")
    def _one_place(self) -> SimulatorRuns:
        if self.environment is not None and self.container is not None:
            raise ValueError("write either `environment` or `container`, not both")
        return self


# Arguments of the built-in adapters that other keys of the configuration set.
OWN_KEYS = {
    "suite": "`variation`",
    "seed": "`evaluation.seed`",
    "env_seed": "`environment_seed`",
    "num_steps_wait": "`idle_steps`",
    "interleaved": "`idle_order`",
    "look_every": "`evaluation.execution_horizon`",
    "expert": "nothing: the ceiling is part of the tables",
    "send_state": "nothing: the policy decides",
    "task_name": "`tasks`",
    "max_episode_steps": "`tasks`",
    "success_mode": "`success`",
    "num_sequences": "`evaluation.episodes`",
    "ep_len": "`evaluation.max_steps`",
}


class Simulator(Strict):
    """A real simulator, which vla-eval runs. docs/simulators.md lists the values for each benchmark."""

    adapter: Annotated[str, Field(pattern=ADAPTER)] = Field(
        description="libero, calvin, simplerenv, metaworld, or your own benchmark class of vla-eval as "
        "`module:Class`."
    )
    gripper: GripperPolarity = Field(description="The commands that open and close the simulator's gripper.")
    gripper_rule: Literal["sign", "two-in-a-row"] = Field(
        "sign",
        description="Gripper command. `sign`: the sign of each prediction. `two-in-a-row`: +1 after two "
        "consecutive predictions of +1, otherwise -1.",
    )
    unnormalisation: Literal["range", "quantile"] = Field(
        description="Must equal the benchmark's `normalisation`."
    )
    success: Literal["any-step", "last-step"] = Field(
        description="An episode succeeds if the goal is reached at any step, which ends the episode "
        "(`any-step`), or if it is reached at the last step (`last-step`)."
    )
    idle_steps: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Number of steps at the start of an episode in which the robot waits until objects "
        "are at rest (LIBERO).",
    )
    idle_order: Literal["first", "interleaved"] = Field(
        "first",
        exclude_if=lambda order: order == "first",
        description="`first`: all idle steps precede the first action of the policy. `interleaved`: each "
        "idle step is followed by one action of the policy. `max_steps` counts the actions of the policy.",
    )
    environment_seed: Seed = Field(0, description="Seed of the simulated environment.")
    render: Literal["gpu", "cpu"] = Field("gpu", description="Render the camera images on a GPU or a CPU.")
    tasks: list[Annotated[int, Field(ge=0)]] | dict[str, Positive] | None = Field(
        None,
        description="LIBERO and MetaWorld: numbers of the tasks, by default all ten. SimplerEnv: each "
        "environment with its step limit per episode. CALVIN: omit this key. Your own class: numbers of the "
        "tasks.",
    )
    first_state: Annotated[int, Field(ge=0)] = Field(
        0,
        exclude_if=lambda state: state == 0,
        description="Number of the first initial state of each task that is played, counted from 0 (LIBERO, "
        "MetaWorld, your own class). `evaluation.episodes` states are played, so demonstrations can be "
        "recorded from others. On MetaWorld, the states from 1000 on are those of demonstrations.",
    )
    variation: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description="LIBERO: a changed form of the tasks, from LIBERO-PRO: `language`, `object`, `position` "
        "or `task`. By default, the tasks are those of LIBERO.",
    )
    params: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further arguments for the adapter, which no other key sets."
    )
    policies: dict[Name, ExternalPolicy] = Field(
        default_factory=dict,
        description="Policies from other authors, by the name of the expert VLA that they replace.",
    )
    runs: SimulatorRuns = Field(
        default_factory=SimulatorRuns,
        description="Where the simulators run, and in how many jobs and processes.",
    )

    @property
    def convention(self) -> Convention:
        """The facts about the simulator."""
        return convention(self.adapter)

    @model_validator(mode="after")
    def _fits_the_simulator(self) -> Simulator:
        known = self.convention
        if known.gripper and (self.gripper.open, self.gripper.close) != (
            known.gripper.open,
            known.gripper.close,
        ):
            raise ValueError(
                f"gripper: {self.adapter} opens at {known.gripper.open:+g} and closes at "
                f"{known.gripper.close:+g}: write these values"
            )
        if self.success not in known.success:
            raise ValueError(
                f"success: {self.adapter} ends an episode when the goal is reached: write {known.success[0]}"
            )
        if self.idle_steps and self.adapter != "libero":
            raise ValueError(f"idle_steps: {self.adapter} has no idle steps: write 0")
        if self.idle_order == "interleaved" and (not self.idle_steps or self.runs.container is not None):
            raise ValueError(
                "idle_order: interleaved needs idle_steps, and a simulator in an `environment`: vla-eval's "
                "class in a container waits before the first action only"
            )
        if self.first_state and (known.chains or self.adapter == "simplerenv"):
            raise ValueError(f"first_state: {self.adapter} chooses its initial states itself: write 0")
        if known.benchmark is not None:
            for name in self.params:
                if name in OWN_KEYS:
                    raise ValueError(f"params.{name}: another key sets it: write {OWN_KEYS[name]}")
        if known.expert and self.runs.container is not None:
            raise ValueError(
                f"runs.container: {self.adapter} runs in an `environment` only: write runs.environment "
                f"({known.installation})"
            )
        self._check_tasks(known)
        self._check_variation(known)
        return self

    def _check_tasks(self, known: Convention) -> None:
        if self.adapter == "simplerenv":
            if not isinstance(self.tasks, dict) or not self.tasks:
                raise ValueError(
                    "tasks: write each environment with its steps, such as `widowx_stack_cube: 60`"
                )
        elif known.chains:
            if self.tasks is not None:
                raise ValueError(f"tasks: {self.adapter} chooses its chains itself: remove this key")
        elif isinstance(self.tasks, dict):
            raise ValueError(
                f"tasks: {self.adapter} needs a list of task numbers: write a list, such as [0, 1]"
            )
        elif self.tasks is None:
            if known.tasks is None:
                raise ValueError(f"tasks: missing: write the numbers of the tasks of {self.adapter}")
        elif not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks: {self.tasks}: write each task once, and at least one")
        elif known.tasks is not None and max(self.tasks) >= known.tasks:
            raise ValueError(f"tasks: {max(self.tasks)} is not below {known.tasks}: write numbers below it")

    def _check_variation(self, known: Convention) -> None:
        if self.variation is None:
            return
        names = [name for name, _ in known.variations]
        if self.variation not in names:
            raise ValueError(
                f"variation: {self.adapter} has no variation {self.variation!r}: "
                + (f"write one of {', '.join(names)}" if names else "remove this key")
            )
        if self.runs.container is not None:
            raise ValueError(
                "variation: needs a simulator in an `environment`: vla-eval's class in a container gives the "
                "policy the instructions of the tasks without the variation"
            )

    @property
    def suite(self) -> str:
        """The name of the adapter's suite of tasks; empty unless the adapter has variations."""
        known = self.convention
        return known.suite if self.variation is None else dict(known.variations)[self.variation]

    def task_numbers(self) -> list[int]:
        """The numbers of the tasks, in the order of the episodes. Not for simplerenv and calvin."""
        assert not isinstance(self.tasks, dict)
        return self.tasks if self.tasks is not None else list(range(self.convention.tasks or 0))


def _none_if_embedded(value: Any) -> Any:
    """Replace `embedded` by None, the default, which the JSON of the settings does not contain."""
    if isinstance(value, str) and value != "embedded":
        raise ValueError(f"unknown value {value!r}: write `embedded`, or a mapping with `adapter`")
    return None if value == "embedded" else value


# A benchmark's `evaluation.simulator`; None is the embedded benchmark.
OptionalSimulator = Annotated[
    Simulator | None,
    BeforeValidator(_none_if_embedded, json_schema_input_type=Literal["embedded"] | Simulator),
]


def check_simulators(benchmarks: dict[str, Any], experts: Any) -> None:
    """Check each simulator against its benchmark and against the expert VLAs.

    `benchmarks`: BenchmarkConfig by name. Raises ValueError that names the key if the simulator belongs to
    another benchmark, if its un-normalisation is not the inverse of the benchmark's normalisation, or if an
    external policy has no expert VLA.
    """
    for name, benchmark in benchmarks.items():
        evaluation, key = benchmark.evaluation, f"benchmarks.{name}.evaluation.simulator"
        simulator = evaluation.simulator
        if name in ONLY_REAL:
            _check_only_real(name, benchmark)
        if simulator is None:
            continue
        known = simulator.convention
        if known.benchmark is not None and known.benchmark != name:
            raise ValueError(
                f"{key}.adapter: {simulator.adapter} is the simulator of {known.benchmark}, and {name} has "
                f"other actions: write the adapter of {name}"
            )
        if simulator.unnormalisation != benchmark.normalisation:
            raise ValueError(
                f"{key}.unnormalisation: {simulator.unnormalisation}, but benchmarks.{name}.normalisation is "
                f"{benchmark.normalisation}: write the same in both"
            )
        if known.longest is not None and evaluation.max_steps > known.longest:
            raise ValueError(
                f"benchmarks.{name}.evaluation.max_steps: {evaluation.max_steps}, but {simulator.adapter} "
                f"ends an episode after {known.longest} steps: write at most {known.longest}"
            )
        last = simulator.first_state + evaluation.episodes - 1
        if (
            known.demonstrations_from is not None
            and simulator.first_state < known.demonstrations_from <= last
        ):
            raise ValueError(
                f"{key}.first_state: the states {simulator.first_state} to {last} are those of evaluations "
                f"and of demonstrations, which begin at {known.demonstrations_from}: write fewer episodes"
            )
        for policy in simulator.policies:
            if policy not in experts:
                raise ValueError(
                    f"{key}.policies.{policy}: there is no expert VLA with this name: "
                    + (f"write one of {', '.join(experts)}" if experts else "add one to `experts`")
                )


def _check_only_real(name: str, benchmark: Any) -> None:
    """Raise ValueError if a benchmark that is not embedded has no simulator."""
    if benchmark.evaluation.simulator is None:
        raise ValueError(
            f"benchmarks.{name}.evaluation.simulator: missing: {name} is not embedded: write a mapping with "
            f"`adapter: {name}`"
        )
