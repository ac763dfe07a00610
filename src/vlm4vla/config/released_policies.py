"""Released policies that are rolled out as they are, without a training and without a server.

`benchmarks.B.released_policies` names them. So far, a folder of transformers' model type `pi0` can be one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from vlm4vla.config.base import Positive, Strict
from vlm4vla.conventions.actions import ACTION_NAMES, ACTION_SIZE
from vlm4vla.core.errors import suggestion

Numbers = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1)]
Spreads = Annotated[list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Field(min_length=1)]


class PolicyStatistics(Strict):
    """Mean and standard deviation of the states and actions that a released policy was trained on.

    The keys are those of transformers' PI0Processor, which writes them into processor_config.json.
    """

    state_mean: Numbers = Field(description="Mean of each number of the robot's state.")
    state_std: Spreads = Field(description="Standard deviation of each number of the robot's state.")
    actions_mean: Numbers = Field(
        description=f"Mean of each of the {ACTION_SIZE} numbers of an action ({', '.join(ACTION_NAMES)})."
    )
    actions_std: Spreads = Field(description="Standard deviation of each number of an action.")

    @model_validator(mode="after")
    def _fit(self) -> PolicyStatistics:
        if len(self.state_mean) != len(self.state_std):
            raise ValueError(
                f"state_mean has {len(self.state_mean)} numbers and state_std has {len(self.state_std)}: "
                "write as many in both"
            )
        for key in ("actions_mean", "actions_std"):
            if len(getattr(self, key)) != ACTION_SIZE:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} numbers: write {ACTION_SIZE} "
                    f"({', '.join(ACTION_NAMES)})"
                )
        return self


class ReleasedPolicy(Strict):
    """A released policy, which is not trained here but rolled out in the process of the rollout.

    In the tables, its results on the benchmark replace those of the expert VLA with the same name.
    """

    checkpoint: Annotated[str, Field(min_length=1)] = Field(
        description="A local folder, or (with `revision`) the name of a model on the Hugging Face hub. Its "
        "config.json has the model type `pi0`."
    )
    revision: str | None = Field(None, description="Commit of the checkpoint on the hub.")
    execution_horizon: Positive | None = Field(
        None, description="Number of actions of a chunk that are executed. By default, that of the benchmark."
    )
    statistics: PolicyStatistics | None = Field(
        None,
        description="Statistics of the states and actions that the policy was trained on. By default those "
        "in the checkpoint's processor_config.json.",
    )

    @property
    def source(self) -> str:
        """The checkpoint with its commit, for records."""
        return self.checkpoint if self.revision is None else f"{self.checkpoint}@{self.revision}"


def check_released(benchmarks: Mapping[str, Any], experts: Iterable[str]) -> None:
    """Raise ValueError that names the key of a released policy without an expert VLA, or with a server too.

    `benchmarks`: BenchmarkConfig by name.
    """
    experts = list(experts)
    for name, benchmark in benchmarks.items():
        simulator = benchmark.evaluation.simulator
        for policy in benchmark.released_policies:
            key = f"benchmarks.{name}.released_policies.{policy}"
            if policy not in experts:
                raise ValueError(
                    f"{key}: there is no expert VLA with this name: "
                    + (suggestion(policy, experts) if experts else "add one to `experts`")
                )
            if simulator is not None and policy in simulator.policies:
                raise ValueError(
                    f"{key}: evaluation.simulator.policies has this policy, too: remove one of the two"
                )
