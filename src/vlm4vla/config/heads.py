"""Action heads: which kinds there are, and the keys of each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vlm4vla.config.base import Positive, Rate, Strict


class MlpHeadSettings(Strict):
    """The study's head: Linear(d, `trunk`), ReLU, Linear(`trunk`, `features`), then two MLPs.

    The MLPs have the widths `hidden`; `trunk` is half the backbone's width d where it is left out, as in
    the study.
    """

    kind: Literal["mlp"] = "mlp"
    trunk: Positive | None = None
    features: Positive
    hidden: list[Positive]
    gripper_loss_weight: Rate
    huber_delta: Rate = 1.0


class TokensHeadSettings(Strict):
    """Actions as words of the vocabulary, said one after another: OpenVLA's."""

    kind: Literal["tokens"]
    bins: Annotated[int, Field(ge=2)] = 256  # a dimension


class FlowHeadSettings(Strict):
    """A transformer that attends to the backbone layer by layer and learns a flow: pi0's action expert."""

    kind: Literal["flow"]
    width: Positive
    intermediate: Positive
    integration_steps: Positive = 10


class PlannedFlowHeadSettings(Strict):
    """First a plan in words, where the gripper will be in the picture; then a flow that reads it: ThinkAct's.

    `plan`: steps after the present one at which the plan says where the gripper is.
    """

    kind: Literal["planned-flow"]
    plan: Annotated[list[Positive], Field(min_length=1)]
    plan_loss_weight: Rate = 1.0
    width: Positive
    layers: Positive = 2
    heads: Positive = 4
    integration_steps: Positive = 10


KINDS = ("mlp", "tokens", "flow", "planned-flow")
HeadSettings = Annotated[
    MlpHeadSettings | TokensHeadSettings | FlowHeadSettings | PlannedFlowHeadSettings,
    Field(discriminator="kind"),
]
ExpertHeadSettings = Annotated[
    TokensHeadSettings | FlowHeadSettings | PlannedFlowHeadSettings, Field(discriminator="kind")
]
