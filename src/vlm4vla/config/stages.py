"""What each stage depends on, and nothing else: cut out of the configuration by `vlm4vla.study.settings`.

A stage's command takes one of these as JSON, and Snakemake compares that JSON: a changed key of config.yaml
reruns the stages whose settings hold it. Names were checked when config.yaml was read.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError

from vlm4vla.config.auxiliary import DiffusionDecoder, FastTokens
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.base import Name, Positive, Strict
from vlm4vla.config.benchmarks import Augmentation, Protocol
from vlm4vla.config.capability import Capability, GivenScore, LmmsTask
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.extensions import FromExtension
from vlm4vla.config.heads import HeadSettings
from vlm4vla.config.pretraining import Aligning, Questions, Recipe
from vlm4vla.config.public_sets import PublicSource
from vlm4vla.config.tables import Cells, TableName
from vlm4vla.config.training import Training
from vlm4vla.core.artefacts import canonical_json
from vlm4vla.core.errors import UserError


class QuestionsSettings(Strict):
    questions: Questions
    image_size: Positive


class BackboneSettings(FromExtension):
    name: Name
    backbone: Backbone
    recipe: Recipe | None
    alignment: Aligning | None = None
    image_size: Positive
    seed: int


class CapabilitySettings(Strict):
    capability: Capability


class AuxiliaryDataSettings(FromExtension):
    """`public`: the set, or sets, whose questions stand in place of generated ones."""

    LATER: ClassVar[frozenset[str]] = FromExtension.LATER | {"public"}

    task: Name
    train_pictures: Positive
    held_out_pictures: Positive
    image_size: Positive
    seed: int
    public: PublicSource | None = None


class FastDataSettings(Strict):
    fast: FastTokens
    chunk: Positive
    normalisation: Literal["range", "quantile"]


class AuxiliarySettings(Strict):
    name: Name  # of the backbone
    task: Name
    training: Training | None  # None where a checkpoint stands in its place
    checkpoint: str | None = None
    revision: str | None = None
    decoder: DiffusionDecoder | None = None
    questions: Positive
    image_size: Positive
    seed: int


class DemonstrationsSettings(FromExtension):
    benchmark: Name
    demonstrations: Demonstrations
    image_size: Positive
    max_steps: Positive | None = None  # of the scripted expert; a data set has none


class VlaSettings(Strict):
    backbone: Name
    auxiliary: Name = "none"
    variant: Name
    benchmark: Name
    seed: int
    freeze: Literal["none", "vision", "embedding"]
    initial_weights: Literal["backbone", "random"]
    chunk: Positive
    normalisation: Literal["range", "quantile"]
    shift: int
    colour_jitter: float
    augmentation: Augmentation | None = Field(None, exclude_if=lambda value: value is None)
    head: HeadSettings
    training: Training


class ExpertSummary(Strict):
    """What a caption says of an expert VLA; `executed`: steps of each chunk, by benchmark, in words."""

    backbone: Name
    steps: Positive | dict[Name, Positive]
    executed: str


class TableSettings(Strict):
    """`cells`: written out, `auxiliaries` a mapping. For the caption: `vla_steps`, training steps of each
    variant, or of each benchmark for it, and `departures` (departures.py). `families`: of each backbone,
    where the table asks for them (correlation). `horizons`: executed steps of a chunk, by benchmark, the
    other tables' first."""

    table: TableName | Literal["correlation"]
    study: Name
    scale: str
    seeds: list[int]
    cells: Cells
    vla_steps: dict[Name, Positive | dict[Name, Positive]]
    experts: dict[Name, ExpertSummary] = Field(default_factory=dict)
    families: dict[Name, str] = Field(default_factory=dict)
    horizons: dict[Name, list[Positive]] = Field(default_factory=dict, exclude_if=lambda steps: not steps)
    departures: list[str] = Field(default_factory=list, exclude_if=lambda found: not found)


class CellSettings(Strict):
    study: Name
    scale: str
    seeds: list[int]
    model: Name
    auxiliary: Name
    variant: Name
    benchmark: Name
    departures: list[str] = Field(default_factory=list, exclude_if=lambda found: not found)


class RolloutSettings(FromExtension):
    policy: Literal["vla", "random", "expert"]
    backbone: Name  # "random" or "expert" for the floor and the ceiling
    auxiliary: Name = "none"
    variant: Name
    benchmark: Name
    seed: int
    evaluation: Protocol
    image_size: Positive
    study: Name
    scale: str
    # of an evaluation on a simulator: the part that is rolled out, None for all of them
    shard: Annotated[int, Field(ge=0)] | None = Field(None, exclude_if=lambda value: value is None)


class FilmsSettings(Strict):
    """Whose films the report shows, in its order: backbones, expert VLAs, floor and ceiling."""

    scale: str
    benchmarks: list[Name]
    models: list[Name]


class LmmsEvalSettings(Strict):
    """Of one VLM. `model`: lmms-eval's; `results`: a file that is read in place of a run; `names`: what the
    model may be called in a result file."""

    name: Name
    auxiliary: Name
    tasks: dict[str, LmmsTask]
    names: list[str]
    model: str | None = None
    limit: Positive | None = None
    batch: Positive = 1
    arguments: dict[str, str | int | float | bool] = Field(default_factory=dict)
    include: str | None = None
    environment: str = ""
    results: str | None = None


class ScoresSettings(Strict):
    """Of one VLM: what `file` says of it."""

    name: Name
    auxiliary: Name
    file: str
    sets: dict[str, GivenScore]
    overall: GivenScore


def settings_json(settings: BaseModel) -> str:
    """Canonical JSON of a settings model."""
    return canonical_json(settings.model_dump(mode="json"))


def read_settings(text: str, model: Any) -> Any:
    """Settings from JSON. Raises UserError naming the key at fault."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"])) or "settings"
        raise UserError(f"--settings: {key}: {fault['msg']}") from None
