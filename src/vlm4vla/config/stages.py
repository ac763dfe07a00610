"""The settings of each stage: what the stage depends on, selected from the configuration.

`vlm4vla.study.settings` creates them. A stage's command receives its settings as JSON. Snakemake compares
this JSON, so a changed key of config.yaml reruns the stages whose settings contain the key. Names need no
check here, because they were checked when config.yaml was read.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError

from vlm4vla.config.analysis import Margins
from vlm4vla.config.auxiliary import DiffusionDecoder, FastTokens
from vlm4vla.config.backbones import AlignmentConfig, Backbone, PixelBounds, Questions, Recipe
from vlm4vla.config.base import Name, OmitsDefaults, Positive, Seed, Strict
from vlm4vla.config.benchmarks import Augmentation, CropArea, EvaluationProtocol, SecondBounds, Shift
from vlm4vla.config.capability import Capability, LmmsTask, QuestionScore
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.policies import HeadSettings
from vlm4vla.config.public_sets import PublicSource
from vlm4vla.config.reading import Reading
from vlm4vla.config.released_policies import ReleasedPolicy
from vlm4vla.config.simulators import Simulator
from vlm4vla.config.tables import Cells, TableName
from vlm4vla.config.training import Training
from vlm4vla.conventions.scales import StudyScale
from vlm4vla.core.artefacts import canonical_json
from vlm4vla.core.errors import UserError


class ExtensionSettings(OmitsDefaults):
    """Settings of a stage that can run a user's file.

    `extension`: SHA-256 (hex) of the file that registers the stage's family, benchmark or auxiliary task;
    None if the name is built in.
    """

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset({"extension"})

    extension: str | None = None


class QuestionsSettings(Strict):
    questions: Questions
    image_size: Positive


class BackboneSettings(ExtensionSettings):
    name: Name
    backbone: Backbone
    recipe: Recipe | None
    alignment: AlignmentConfig | None = None
    image_size: Positive
    seed: Seed


class CapabilitySettings(Strict):
    capability: Capability


class AuxiliaryDataSettings(ExtensionSettings):
    """`public`: the public datasets that replace generated questions."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = ExtensionSettings.OMITTED_AT_DEFAULT | {"public"}

    task: Name
    train_pictures: Positive
    held_out_pictures: Positive
    image_size: Positive
    seed: Seed
    public: PublicSource | None = None


class FastDataSettings(Strict):
    fast: FastTokens
    chunk: Positive
    normalisation: Literal["range", "quantile"]


class AuxiliarySettings(Strict):
    name: Name  # of the backbone
    task: Name
    training: Training | None  # None if a checkpoint replaces the training
    checkpoint: str | None = None
    revision: str | None = None
    # For a checkpoint. A fine-tuned backbone has the image processor of the backbone that it was made from.
    pixels: PixelBounds | None = Field(None, exclude_if=lambda value: value is None)
    decoder: DiffusionDecoder | None = None
    questions: Positive
    image_size: Positive
    seed: Seed


class DemonstrationsSettings(ExtensionSettings):
    benchmark: Name
    demonstrations: Demonstrations
    image_size: Positive
    max_steps: Positive | None = None  # of an episode of the scripted expert; None for a dataset
    # The real simulator whose own experts are recorded; None for an embedded benchmark or a dataset.
    simulator: Simulator | None = Field(None, exclude_if=lambda value: value is None)


class VlaSettings(Strict):
    backbone: Name
    auxiliary: Name = "none"
    variant: Name
    benchmark: Name
    seed: Seed
    freeze: Literal["none", "vision", "embedding"]
    initial_weights: Literal["backbone", "random"]
    chunk: Positive
    normalisation: Literal["range", "quantile"]
    second_bounds: SecondBounds = Field(None, exclude_if=lambda value: value is None)
    first_episodes: Positive | None = Field(None, exclude_if=lambda value: value is None)
    reading: Reading = Field(default_factory=Reading, exclude_if=lambda reading: reading == Reading())
    shift: Shift
    colour_jitter: float
    augmentation: Augmentation | None = Field(None, exclude_if=lambda value: value is None)
    centre_crop: CropArea = Field(None, exclude_if=lambda value: value is None)  # of the finished policy
    head: HeadSettings
    training: Training


class ExpertSummary(Strict):
    """The facts about an expert VLA in a caption.

    `steps`: training steps, or a mapping from benchmarks to training steps. `executed`: executed and
    predicted steps of a chunk, in words; empty if the policy is trained for no benchmark of the table.
    `released`: the released policy that acts instead, by benchmark.
    """

    backbone: Name
    steps: Positive | dict[Name, Positive]
    executed: str
    released: dict[Name, str] = Field(default_factory=dict, exclude_if=lambda found: not found)


class TransferSources(Strict):
    """What the table transfer reads beside its own cells.

    `records`: the paths of other studies. `experts`: the expert VLAs of the study, which are no backbones in
    other studies either.
    """

    records: list[str] = Field(default_factory=list)
    experts: list[Name] = Field(default_factory=list)


class ShownSettings(Strict):
    """The settings of what a reader sees.

    `real`: at a scale of tiny models, the benchmarks that run on real simulators.
    """

    scale: str
    real: list[Name] = Field(default_factory=list, exclude_if=lambda names: not names)

    @property
    def study_scale(self) -> StudyScale:
        return StudyScale(self.scale, self.real)


class TableSettings(ShownSettings):
    """The settings of a table.

    `cells`: without `all`, and with a mapping for `auxiliaries`. `vla_steps`: the training steps of each
    variant, or a mapping from benchmarks to training steps where these differ; for the caption. `families`:
    the family of each backbone, for tables that need it (correlation). `horizons`: the execution horizons by
    benchmark, first the one that the other tables use. `departures`: the settings that differ from those of
    the paper scale, for the caption (study/departures.py). `analysis`: the margins of the table's words.
    `transfer`: for the table of this name. `carry_over`: what the caption says about embedded benchmarks
    beside real ones: the `numbers` of the table transfer, or its `name`.
    """

    table: TableName
    study: Name
    seeds: list[int]
    cells: Cells
    vla_steps: dict[Name, Positive | dict[Name, Positive]]
    experts: dict[Name, ExpertSummary] = Field(default_factory=dict)
    families: dict[Name, str] = Field(default_factory=dict)
    horizons: dict[Name, list[Positive]] = Field(default_factory=dict, exclude_if=lambda steps: not steps)
    departures: list[str] = Field(default_factory=list, exclude_if=lambda found: not found)
    analysis: Margins = Field(default_factory=Margins, exclude_if=lambda margins: margins == Margins())
    transfer: TransferSources | None = Field(None, exclude_if=lambda value: value is None)
    carry_over: Literal["numbers", "name"] | None = Field(None, exclude_if=lambda value: value is None)


class CellSettings(ShownSettings):
    study: Name
    seeds: list[int]
    model: Name
    auxiliary: Name
    variant: Name
    benchmark: Name
    departures: list[str] = Field(default_factory=list, exclude_if=lambda found: not found)


class RolloutSettings(ExtensionSettings):
    # `expert`: the scripted expert, or a replay of recorded actions on a real simulator; `script`: the own
    # expert of a real simulator.
    policy: Literal["vla", "random", "expert", "script"]
    backbone: Name  # "random" or "expert" for the reference policies (floor and ceiling)
    auxiliary: Name = "none"
    variant: Name
    benchmark: Name
    seed: Seed
    evaluation: EvaluationProtocol
    image_size: Positive
    study: Name
    scale: str
    # The released policy that acts instead of a trained one.
    released: ReleasedPolicy | None = Field(None, exclude_if=lambda value: value is None)
    # The number of a shard of an evaluation on a simulator; None for all shards.
    shard: Annotated[int, Field(ge=0)] | None = Field(None, exclude_if=lambda value: value is None)


class FilmsSettings(ShownSettings):
    """The policies that the report shows in films, in order: backbones, expert VLAs, floor and ceiling."""

    benchmarks: list[Name]
    models: list[Name]


class LmmsEvalSettings(Strict):
    """The settings of lmms-eval for one VLM.

    `model`: the name of lmms-eval's model class. `results`: a result file that is read instead of a run.
    `names`: the names that the VLM can have in a result file.
    """

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
    """The scores of one VLM in the CSV file `file`."""

    name: Name
    auxiliary: Name
    file: str
    sets: dict[str, QuestionScore]
    overall: QuestionScore


def settings_json(settings: BaseModel) -> str:
    """The canonical JSON of a settings model."""
    return canonical_json(settings.model_dump(mode="json"))


def read_settings(text: str, model: Any) -> Any:
    """Settings of the class `model` from JSON. Raises UserError that names the first invalid key."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "settings"
        raise UserError(f"--settings: {key}: {first['msg']}") from None
