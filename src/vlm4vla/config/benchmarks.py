"""Benchmarks in the configuration: demonstrations, policy training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from vlm4vla.config.base import Fraction, Name, Positive, Seed, Strict
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.released_policies import ReleasedPolicy
from vlm4vla.config.simulators import OptionalSimulator
from vlm4vla.config.training import Training
from vlm4vla.core.errors import suggestion

# Words of `evaluation.stop.against`: the policy without an auxiliary task, and random actions
NO_TASK, RANDOM = "none", "random"


def _none_if_whole(area: float | None) -> float | None:
    """Replace 1, the whole image, by None, the default, which the JSON of the settings does not contain."""
    return None if area == 1 else area


def _in_order(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    if bounds is not None and not -1 <= bounds[0] < bounds[1] <= 1:
        raise ValueError(f"{list(bounds)}: write two bounds from -1 to 1, the lower one first")
    return bounds


def _shift(value: Any) -> Any:
    pair = value if isinstance(value, list | tuple) else [0, value]
    whole = len(pair) == 2 and all(isinstance(each, int) and not isinstance(each, bool) for each in pair)
    if not whole or not pair[0] <= 0 <= pair[1]:
        raise ValueError(
            f"{value!r}: write the largest move in pixels, such as 10, or the lowest and the highest, such "
            "as [-10, 9]"
        )
    return value


# The largest move in each direction, or the lowest and the highest move (down and to the right), in pixels.
Shift = Annotated[int | tuple[int, int], BeforeValidator(_shift)]
SecondBounds = Annotated[tuple[float, float] | None, AfterValidator(_in_order)]
CropArea = Annotated[Annotated[float, Field(gt=0, le=1)] | None, AfterValidator(_none_if_whole)]


class StopRule(Strict):
    """Evaluation in blocks that ends when a sequential test has decided a comparison."""

    against: Name = Field(
        description="The policy that each other policy of the benchmark is compared with. It is rolled out "
        "in full, with the same training seed. A key of `variants`, such as `full`: the same backbone with "
        "this variant (tables freeze and scratch). `none`: the same backbone and variant without an "
        "auxiliary task (tables auxiliary and fast_injection). A key of `backbones`: this backbone with the "
        "variant `full` (table main). `random`: random actions (table main)."
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05,
        description="Largest probability that the test decides, at any time, between two policies that do "
        "not differ. It holds for each policy and each training seed. Holm's correction in the tables "
        "multiplies p values: for a table with m comparisons, write 0.05 divided by m.",
    )
    block: Positive = Field(
        10,
        description="Number of episodes between two looks at the outcomes. A real simulator is started once "
        "for each block. Intervals are valid at every look, so that more looks make them wider.",
    )
    hopeless: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Stop as undecided, too, when the predicted chance of a decision falls below this "
        "number. With 0, an undecided rollout runs all episodes.",
    )


class EvaluationProtocol(Strict):
    """How policies are evaluated on a benchmark."""

    episodes: Positive = Field(
        description="On CALVIN: number of chains of five instructions. Elsewhere: number of initial states "
        "per task."
    )
    max_steps: Positive = Field(
        description="Step limit, per instruction on CALVIN and per episode elsewhere."
    )
    execution_horizon: Positive = Field(
        description="Number of actions of a chunk that are executed before the policy predicts again."
    )
    executed: list[Positive] = Field(
        default_factory=list,
        exclude_if=lambda steps: not steps,
        description="Further execution horizons, which the table executed_steps compares with "
        "`execution_horizon`.",
    )
    centre_crop: CropArea = Field(
        None,
        exclude_if=lambda area: area is None,
        description="Policies see only the centre of each image: fraction of the image area that is kept. "
        "The crop is resized to the full image. It matches the random `augmentation.crop` of the training. "
        "By default, policies see the whole image. The policy crops the images itself, so this number is "
        "stored with it, and a change trains the benchmark's policies again. Reference policies and the "
        "policies of other authors are not affected.",
    )
    seed: Seed = Field(
        0, description="Seed of the initial states, and of the noise of policies that sample their actions."
    )
    videos: Annotated[int, Field(ge=0)] = Field(
        3,
        description="Number of filmed episodes per policy. On a real simulator, a film shows the images that "
        "the policy saw when it planned; the policies of other authors are not filmed there.",
    )
    stop: StopRule | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Roll out in blocks, and stop when the comparison with another policy is decided; see "
        "docs/early-stopping.md. By default, every policy runs all episodes.",
    )
    simulator: OptionalSimulator = Field(
        None,
        exclude_if=lambda value: value is None,
        description="`embedded` (the default): a small benchmark in MuJoCo, which is part of this "
        "repository. A mapping: a real simulator; see docs/simulators.md.",
    )

    @model_validator(mode="after")
    def _states_exist(self) -> EvaluationProtocol:
        states = self.simulator.convention.states if self.simulator is not None else None
        if states is None or self.simulator is None:
            return self
        first = self.simulator.first_state
        if first + self.episodes > states:
            raise ValueError(
                f"episodes: {self.episodes} from simulator.first_state {first} on, but a task has {states} "
                f"initial states: write at most {states} for the sum"
            )
        return self


class BenchmarkConfig(Strict):
    """A benchmark: its demonstrations, the settings of its policies, and their evaluation."""

    demonstrations: Demonstrations = Field(
        description="The demonstrations on which the policies of this benchmark are trained."
    )
    chunk: Positive = Field(description="Action chunk: number of actions that a policy predicts at once.")
    normalisation: Literal["range", "quantile"] = Field(
        description="Actions are scaled to [-1, 1] with their minimum and maximum (`range`), or with their "
        "1st and 99th percentiles (`quantile`)."
    )
    second_bounds: SecondBounds = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Normalised motions are clipped to these bounds and scaled to [-1, 1] again. "
        "Evaluation undoes both scalings, so policies execute motions within these bounds only.",
    )
    shift: Shift = Field(
        0,
        description="Image augmentation: largest random shift in each direction, in pixels. A pair: the "
        "lowest and the highest shift, down and to the right, such as [-10, 9].",
    )
    colour_jitter: Fraction = Field(
        0.0,
        description="Image augmentation of recorded demonstrations: largest relative change of brightness "
        "and contrast. Colour channels change by up to half as much.",
    )
    first_episodes: Positive | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Number of episodes, from the start of the dataset, on which policies are trained. By "
        "default all. Normalisation uses the statistics of all episodes.",
    )
    augmentation: Augmentation | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Image augmentation of demonstrations from a dataset.",
    )
    training: Training | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Replaces the policy training (`vla`) on this benchmark.",
    )
    released_policies: dict[Name, ReleasedPolicy] = Field(
        default_factory=dict,
        exclude_if=lambda policies: not policies,
        description="Released policies that are rolled out as they are, by the name of the expert VLA that "
        "they replace on this benchmark; see docs/experts.md.",
    )
    evaluation: EvaluationProtocol = Field(description="How the policies of this benchmark are evaluated.")

    @model_validator(mode="after")
    def _fits(self) -> BenchmarkConfig:
        if self.demonstrations.dataset is None and self.augmentation is not None:
            raise ValueError(
                "augmentation needs demonstrations.dataset: add a dataset, or remove augmentation"
            )
        if self.demonstrations.dataset is None and self.first_episodes is not None:
            raise ValueError(
                "first_episodes needs demonstrations.dataset: write demonstrations.episodes instead"
            )
        if self.demonstrations.dataset is not None and self.colour_jitter:
            raise ValueError(
                "colour_jitter does not apply to a dataset: write `colour_jitter: 0`, and use `augmentation`"
            )
        if self.evaluation.execution_horizon > self.chunk:
            raise ValueError(
                f"evaluation.execution_horizon {self.evaluation.execution_horizon} is above chunk "
                f"{self.chunk}: write at most {self.chunk}"
            )
        executed = self.evaluation.executed
        if len(set(executed)) != len(executed) or max(executed, default=0) > self.chunk:
            raise ValueError(
                f"evaluation.executed {executed}: write each number once, and at most chunk {self.chunk}"
            )
        if self.chunk > self.evaluation.max_steps:
            raise ValueError(
                f"chunk {self.chunk} is longer than an episode (evaluation.max_steps "
                f"{self.evaluation.max_steps}): write at most {self.evaluation.max_steps}"
            )
        return self


def check_stops(
    benchmarks: dict[str, BenchmarkConfig], backbones: Iterable[str], variants: Iterable[str]
) -> None:
    """Raise ValueError for an `evaluation.stop.against` that names no policy, or two of different kinds."""
    kinds = {"a backbone": set(backbones), "a variant": set(variants), "a fixed word": {NO_TASK, RANDOM}}
    for name, benchmark in benchmarks.items():
        stop = benchmark.evaluation.stop
        if stop is None:
            continue
        key = f"benchmarks.{name}.evaluation.stop.against"
        found = [kind for kind, words in kinds.items() if stop.against in words]
        if not found:
            known = set.union(*kinds.values())
            raise ValueError(f"{key}: unknown policy {stop.against!r}: " + suggestion(stop.against, known))
        if len(found) > 1:
            raise ValueError(f"{key}: {stop.against!r} is {' and '.join(found)}: rename one of them")


HalfTurn = Annotated[float, Field(ge=0, le=0.5)]


class Augmentation(Strict):
    """Random changes of training images, drawn independently for each sample."""

    crop: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Random crop: fraction of the image area that is kept. The crop is resized to the full "
        "image.",
    )
    brightness: Fraction = Field(
        0.0,
        description="Largest amount that is added or subtracted; 1 is the difference between black and "
        "white.",
    )
    contrast: Fraction = Field(
        0.0, description="The contrast is multiplied by a factor from 1 - contrast to 1 + contrast."
    )
    saturation: Fraction = Field(
        0.0, description="The saturation is multiplied by a factor from 1 - saturation to 1 + saturation."
    )
    hue: HalfTurn = Field(
        0.0, description="Largest shift of the hue in each direction; 1 is the whole hue circle."
    )
