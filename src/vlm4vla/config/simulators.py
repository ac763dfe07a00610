"""How a benchmark is evaluated on its real simulator, through vla-eval: `benchmarks.B.evaluation.simulator`.

What makes the numbers what they are (polarity, un-normalisation, what counts as success, idle steps, seeds)
is written out and checked against what is known of the simulator; `runs` only says where and how wide it
runs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from vlm4vla.config.base import Name, Positive, Strict
from vlm4vla.conventions.simulators import Convention, convention

ADAPTER = r"^(libero|calvin|simplerenv|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"
# Servers of vla-eval that run the code which lies beside a checkpoint's weights.
RUN_REMOTE_CODE = ("openvla", "cogact", "xvla")


class Polarity(Strict):
    """What the simulator takes as gripper command."""

    open: Literal[-1, 1]
    close: Literal[-1, 1]

    @model_validator(mode="after")
    def _differ(self) -> Polarity:
        if self.open == self.close:
            raise ValueError(f"open and close are both {self.open}: write one 1 and the other -1")
        return self


class OtherPolicy(Strict):
    """A policy of others, behind its own vla-eval server: it fills the rows of the expert VLA of its name.

    `command` starts the server; `{host}` and `{port}` in it are replaced. `checkpoint`, `execution_horizon`
    and `unnormalisation` are what its rows say of it. `remote_code`: the server may run a checkpoint's own
    code.
    """

    command: Annotated[list[str], Field(min_length=1)]
    checkpoint: Annotated[str, Field(min_length=1)]
    execution_horizon: Positive
    unnormalisation: Annotated[str, Field(min_length=1)]
    remote_code: bool = False

    @model_validator(mode="after")
    def _can_be_started(self) -> OtherPolicy:
        words = " ".join(self.command)
        if "{port}" not in words or "{host}" not in words:
            raise ValueError("command: write {host} and {port} where the server's address belongs")
        named = [name for name in RUN_REMOTE_CODE if name in words]
        if named and not self.remote_code:
            raise ValueError(
                f"command: the server {named[0]} runs code that lies beside its checkpoint: write "
                "`remote_code: true` to allow that, or leave this policy out"
            )
        return self


class Runs(Strict):
    """Where the simulators and the policy server run; no part of what a record depends on.

    `environment`: folder of a virtual environment with the simulator and vla-eval, by default the job's
    own. `container`: an image that vla-eval starts with docker, in place of that. `shards`: jobs of one
    evaluation, each with its own server. `processes`: simulators of one job, which share its server.
    `host`: where the server listens. `start_s`, `answer_s`: seconds that it may take to come up, and to
    answer.
    """

    environment: str | None = None
    container: str | None = None
    shards: Positive = 1
    processes: Positive = 1
    host: str = "127.0.0.1"
    start_s: Positive = 900
    answer_s: Positive = 120

    @model_validator(mode="after")
    def _one_place(self) -> Runs:
        if self.environment is not None and self.container is not None:
            raise ValueError("write either `environment` or `container`: the simulator is in one of them")
        return self


class Simulator(Strict):
    """`adapter`: libero, calvin, simplerenv, or a benchmark class of your own as `module:Class`.

    `tasks`: libero's tasks by number (all ten by default) or those of an own class; of simplerenv each
    environment with the steps that an episode may take. `gripper_rule`: `two-in-a-row` sends +1 only after
    two such predictions in a row, and -1 otherwise. `success`: at any step, which ends the episode, or at
    the last. `params`: further arguments of the adapter. `policies`: servers of others, by the expert VLA
    that they fill.
    """

    adapter: Annotated[str, Field(pattern=ADAPTER)]
    gripper: Polarity
    gripper_rule: Literal["sign", "two-in-a-row"] = "sign"
    unnormalisation: Literal["range", "quantile"]
    success: Literal["any-step", "last-step"]
    idle_steps: Annotated[int, Field(ge=0)] = 0
    environment_seed: Annotated[int, Field(ge=0)] = 0
    render: Literal["gpu", "cpu"] = "gpu"
    tasks: list[Annotated[int, Field(ge=0)]] | dict[str, Positive] | None = None
    params: dict[str, JsonValue] = Field(default_factory=dict)
    policies: dict[Name, OtherPolicy] = Field(default_factory=dict)
    runs: Runs = Field(default_factory=Runs)

    @property
    def convention(self) -> Convention:
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
                f"{known.gripper.close:+g}: write those"
            )
        if self.success not in known.success:
            raise ValueError(
                f"success: {self.adapter} ends an episode when its goal is reached: write {known.success[0]}"
            )
        if self.idle_steps and self.adapter != "libero":
            raise ValueError(f"idle_steps: {self.adapter} has none: write 0")
        self._check_tasks(known)
        return self

    def _check_tasks(self, known: Convention) -> None:
        if self.adapter == "simplerenv":
            if not isinstance(self.tasks, dict) or not self.tasks:
                raise ValueError("tasks: write each environment with its steps, as `widowx_stack_cube: 60`")
        elif self.adapter == "calvin":
            if self.tasks is not None:
                raise ValueError("tasks: calvin draws its chains itself: leave it out")
        elif isinstance(self.tasks, dict):
            raise ValueError(f"tasks: {self.adapter} takes a list of task numbers: write one")
        elif self.tasks is None:
            if known.tasks is None:
                raise ValueError(f"tasks: {self.adapter}: write the numbers of its tasks")
        elif not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks: {self.tasks}: write each task once, and at least one")
        elif known.tasks is not None and max(self.tasks) >= known.tasks:
            raise ValueError(f"tasks: {max(self.tasks)} is not below {known.tasks}: write numbers below it")

    def task_numbers(self) -> list[int]:
        """Tasks of the adapter, in the order of its episodes; not for simplerenv and calvin."""
        assert not isinstance(self.tasks, dict)
        return self.tasks if self.tasks is not None else list(range(self.convention.tasks or 0))


def embedded_is_none(value: Any) -> Any:
    """`simulator: embedded` is the default, which no settings mention."""
    if isinstance(value, str) and value != "embedded":
        raise ValueError(f"unknown value {value!r}: write `embedded`, or a mapping with `adapter`")
    return None if value == "embedded" else value


# A benchmark's `evaluation.simulator`: None for the embedded one.
OptionalSimulator = Annotated[
    Simulator | None,
    BeforeValidator(embedded_is_none, json_schema_input_type=Literal["embedded"] | Simulator),
]


def check_simulators(benchmarks: dict[str, Any], experts: Any) -> None:
    """Refuse a simulator that is not the benchmark's, or un-normalises otherwise than the policies normalise.

    `benchmarks`: name to BenchmarkConfig. Raises ValueError naming the key.
    """
    for name, benchmark in benchmarks.items():
        simulator, key = benchmark.evaluation.simulator, f"benchmarks.{name}.evaluation.simulator"
        if simulator is None:
            continue
        known = simulator.convention
        if known.benchmark is not None and known.benchmark != name:
            raise ValueError(
                f"{key}.adapter: {simulator.adapter} is {known.benchmark}'s, whose actions are not those of "
                f"{name}: write the adapter of {name}"
            )
        if simulator.unnormalisation != benchmark.normalisation:
            raise ValueError(
                f"{key}.unnormalisation: {simulator.unnormalisation}, but benchmarks.{name}.normalisation is "
                f"{benchmark.normalisation}: write the same in both"
            )
        for policy in simulator.policies:
            if policy not in experts:
                raise ValueError(
                    f"{key}.policies.{policy}: no expert VLA of that name, so no row to fill: "
                    f"write one of {', '.join(experts) or 'experts, and add it there'}"
                )
