"""Policies in the configuration: action heads, variants and expert VLAs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Depth, Name, Positive, Rate, Strict, Width
from vlm4vla.config.reading import Reading
from vlm4vla.config.training import Training

# Half of the features of a time are sines and half are cosines (policies/heads/flow_matching.py).
EvenWidth = Annotated[int, Field(gt=0, le=65536, multiple_of=2)]


class MlpHeadSettings(Strict):
    """The study's action head: a multilayer perceptron (MLP) that reads one query token after the prompt.

    Linear(d, `trunk`), ReLU and Linear(`trunk`, `features`) come first; d is the width of the backbone. Two
    MLPs with the layer widths `hidden` follow: one for the motion and one for the gripper.
    """

    kind: Literal["mlp"] = Field(
        "mlp", description="The kind of head. `mlp`: multilayer perceptrons, the study's own head."
    )
    trunk: Width | None = Field(
        None,
        description="Width of the first layer. The default is half the backbone's width, as in the paper.",
    )
    features: Width = Field(description="Width of the layer that both MLPs read.")
    hidden: list[Width] = Field(description="Layer widths of the two MLPs.")
    gripper_loss_weight: Rate = Field(
        description="Weight of the gripper's cross-entropy; the Huber loss of the motion has weight 1."
    )
    huber_delta: Rate = Field(
        1.0,
        description="Error, in normalised units, at which the Huber loss changes from quadratic to linear.",
    )
    query: Literal["last-token", "zeros"] = Field(
        "last-token",
        exclude_if=lambda start: start == "last-token",
        description="Start of the learnable action query: the embedding of the prompt's last token, or "
        "zeros.",
    )


class TokensHeadSettings(Strict):
    """OpenVLA's action head: the backbone generates each number of an action as a token of its vocabulary."""

    kind: Literal["tokens"] = Field(
        description="The kind of head. `tokens`: actions as tokens of the vocabulary, as in OpenVLA."
    )
    bins: Annotated[int, Field(ge=2, le=65536)] = Field(
        256, description="Number of bins per action dimension. Each bin is one token."
    )


class FlowHeadSettings(Strict):
    """pi0's action expert: a second transformer learns a flow and attends to the backbone layer by layer."""

    kind: Literal["flow"] = Field(
        description="The kind of head. `flow`: an action expert with flow matching, as in pi0."
    )
    width: EvenWidth = Field(description="Width of the action expert: an even number.")
    intermediate: Width = Field(description="Width of the action expert's feed-forward layers.")
    integration_steps: Positive = Field(10, description="Euler steps from noise to actions.")


class PlannedFlowHeadSettings(Strict):
    """ThinkAct's action head: the backbone generates a plan, and a flow then generates actions from the plan.

    The plan predicts where in the image the gripper will be.
    """

    kind: Literal["planned-flow"] = Field(
        description="The kind of head. `planned-flow`: a plan, then flow matching, as in ThinkAct."
    )
    plan: Annotated[list[Positive], Field(min_length=1)] = Field(
        description="Future steps, counted from the current step, for which the plan predicts the "
        "gripper's position."
    )
    plan_loss_weight: Rate = Field(
        1.0, description="Weight of the plan's loss; the flow's loss has weight 1."
    )
    width: EvenWidth = Field(description="Width of the flow's transformer: an even multiple of `heads`.")
    layers: Depth = Field(2, description="Layers of the flow's transformer.")
    heads: Width = Field(4, description="Attention heads of the flow's transformer.")
    integration_steps: Positive = Field(10, description="Euler steps from noise to actions.")

    @model_validator(mode="after")
    def _heads_divide(self) -> PlannedFlowHeadSettings:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}: write a multiple")
        return self


KINDS = ("mlp", "tokens", "flow", "planned-flow")
HeadSettings = Annotated[
    MlpHeadSettings | TokensHeadSettings | FlowHeadSettings | PlannedFlowHeadSettings,
    Field(discriminator="kind"),
]
ExpertHeadSettings = Annotated[
    TokensHeadSettings | FlowHeadSettings | PlannedFlowHeadSettings, Field(discriminator="kind")
]


class Variant(Strict):
    """A way to train a policy from a backbone."""

    freeze: Literal["none", "vision", "embedding"] = Field(
        "none",
        description="The part of the backbone that is not trained: the vision encoder or the word embedding.",
    )
    initial_weights: Literal["backbone", "random"] = Field(
        "backbone", description="Start from the backbone's weights, or from random weights."
    )
    training: Training | None = Field(
        None, description="Replaces the policy training of the benchmark and of the study (`vla`)."
    )


class Expert(Strict):
    """An expert VLA: a backbone of the study with another action head and other settings."""

    backbone: Name = Field(description="A key of `backbones`.")
    head: ExpertHeadSettings = Field(
        description="The action head. `kind` is `tokens`, `flow` or `planned-flow`."
    )
    chunk: Positive | None = Field(
        None,
        description="Number of actions that are predicted at once. The default is the benchmark's `chunk`.",
    )
    execution_horizon: Positive | None = Field(
        None, description="Number of actions of a chunk that are executed. By default, that of the benchmark."
    )
    training: Training | None = Field(
        None, description="Replaces the usual policy training on every benchmark."
    )
    reading: Reading = Field(
        default_factory=Reading,
        exclude_if=lambda reading: reading == Reading(),
        description="How this policy reads its prompt, where it differs from the usual way. The `reading` of "
        "the backbone does not apply to it.",
    )

    @model_validator(mode="after")
    def _has_no_query(self) -> Expert:
        if self.reading.query_position != "next":
            raise ValueError("reading.query_position: an expert VLA has no action query: remove this key")
        return self

    @model_validator(mode="after")
    def _executes_what_it_predicts(self) -> Expert:
        if self.chunk and self.execution_horizon and self.execution_horizon > self.chunk:
            raise ValueError(
                f"execution_horizon {self.execution_horizon} is above chunk {self.chunk}: "
                f"write at most {self.chunk}"
            )
        return self
