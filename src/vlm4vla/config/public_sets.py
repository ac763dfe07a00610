"""Public datasets of questions about images, which replace the generated questions of an auxiliary task.

A task uses one dataset (`dataset`), or several in a weighted `mixture`. `KNOWN_SETS` holds the layouts of
some datasets by name; the configuration can override each key.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Name, OmitsDefaults, Positive, Rate, Strict
from vlm4vla.core.errors import suggestion

Layout = Literal["conversations", "choices", "answers", "demonstrations"]
Axis = Literal["forward", "backward", "left", "right", "up", "down"]
HeldOutShare = Annotated[float, Field(gt=0, lt=1)]

# The parts of a row in each layout, and the default column of each part; `columns` overrides the columns.
# Rows with the same `group` are never in both splits. The group "" is the image itself.
ROLES: dict[Layout, dict[str, str]] = {
    # LLaVA's format: JSON lists of {id, image, conversations: [{from: human, value}, {from: gpt, value}]}.
    "conversations": {"id": "id", "picture": "image", "conversations": "conversations", "group": ""},
    # Tables with an image, a question, its choices and the correct choice.
    "choices": {
        "id": "id",
        "picture": "image",
        "question": "question",
        "choices": "choices",
        "answer": "correct_answer",
        "group": "",
    },
    # Tables with an image, a question and its answer.
    "answers": {"id": "id", "picture": "image", "question": "question", "answer": "answer", "group": ""},
    # Frames of a LeRobot dataset. `picture` is the camera's feature; "" is the first camera.
    "demonstrations": {"picture": "", "state": "observation.state", "group": ""},
}
TABLE_FILES = ["data/{split}-*.parquet", "{split}/*.parquet", "{split}*.parquet", "*.parquet"]
# Layouts of the datasets that the study's tasks are named after. Sources: the dataset cards and public
# loaders.
KNOWN_SETS: dict[str, dict[str, Any]] = {
    "robopoint": {
        "layout": "conversations",
        "files": ["robopoint_1432k.json"],
        "pictures": "images",
    },
    # The videos (ScanNet, ScanNet++, ARKitScenes) are not part of the dataset; `pictures` is their folder.
    "vica-332k": {
        "layout": "conversations",
        "files": ["*/base/*.json", "*/complex/*.json"],
        "pictures": "video",
        "columns": {"picture": "video"},
    },
    "robo2vlm": {"layout": "choices"},
    "bridgevqa": {"layout": "demonstrations"},
}


class PublicSet(OmitsDefaults):
    """A public dataset of questions about images: a local folder, or a dataset on the Hugging Face hub."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = frozenset(
        {"dataset", "layout", "split", "files", "pictures", "columns", "buffer", "held_out", "frames"}
        | {"faulty", "axes", "every"}
    )

    dataset: str | None = Field(
        None,
        description="A local folder, or (with `revision`) the name of a dataset on the Hugging Face hub.",
    )
    revision: str | None = Field(None, description="Commit of the dataset, or of the checkpoint, on the hub.")
    layout: Layout | None = Field(
        None,
        description="Format of the rows. `conversations`: JSON in the format of LLaVA. `choices`: tables "
        "with a question, choices and the correct choice. `answers`: tables with a question and an answer. "
        "`demonstrations`: frames of a LeRobot dataset. For robopoint, vica-332k, robo2vlm and bridgevqa, "
        "the layout is built in.",
    )
    split: str = Field("train", description="Split of the dataset.")
    files: Annotated[list[str], Field(min_length=1)] | None = Field(
        None,
        description="Patterns of the annotation files, relative to the dataset's folder. `{split}` stands "
        "for the value of `split`.",
    )
    pictures: str | None = Field(
        None,
        description="Folder of the image or video files that the rows name: relative to the dataset's "
        "folder, or an absolute path.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Column names of the dataset that differ from the defaults, for these parts of a "
        "row: id, picture, question, choices, answer, conversations, state, group. Rows with the same group "
        "are either all for training or all held out.",
    )
    buffer: Positive = Field(1000, description="Number of samples that are read and shuffled together.")
    held_out: HeldOutShare = Field(
        0.02, description="Fraction of the images (or groups) that are held out from training."
    )
    frames: Positive = Field(
        1, description="Number of frames of a video, which are shown side by side in one image."
    )
    faulty: Literal["refuse", "skip"] = Field(
        "refuse",
        description="What to do with an unusable row: stop with an error (`refuse`), or omit the row "
        "(`skip`).",
    )
    axes: tuple[Axis, Axis, Axis] = Field(
        ("forward", "left", "up"),
        description="Layout `demonstrations`: directions in which the first three numbers of the state "
        "increase.",
    )
    every: Positive = Field(5, description="Layout `demonstrations`: use every n-th frame.")

    def resolved(self, name: str, weight: float = 1.0) -> SetSettings:
        """All settings, with the known layout of `name` filled in. Raises ValueError for missing keys."""
        if self.dataset is None:
            raise ValueError("dataset is missing: write a folder, or a name on the hub with its `revision`")
        known = KNOWN_SETS.get(name, {})
        layout = self.layout or known.get("layout")
        if layout is None:
            raise ValueError(f"layout is missing: write one of {', '.join(ROLES)}")
        if layout != known.get("layout"):
            known = {}
        for role in self.columns:
            if role not in ROLES[layout]:
                raise ValueError(f"columns.{role}: unknown part of a row: {suggestion(role, ROLES[layout])}")
        files = self.files or known.get("files")
        if files is None and layout == "conversations":
            raise ValueError('files is missing: write patterns of the JSON files, such as ["*.json"]')
        return SetSettings(
            dataset=self.dataset,
            revision=self.revision,
            layout=layout,
            split=self.split,
            files=[pattern.replace("{split}", self.split) for pattern in files or TABLE_FILES],
            pictures=self.pictures if self.pictures is not None else known.get("pictures", ""),
            columns=ROLES[layout] | known.get("columns", {}) | self.columns,
            buffer=self.buffer,
            held_out=self.held_out,
            frames=self.frames,
            faulty=self.faulty,
            axes=self.axes,
            every=self.every,
            weight=weight,
        )


class MixedSet(PublicSet):
    """One dataset of a mixture."""

    weight: Rate = Field(
        1.0, description="Share of the samples, relative to the weights of the other datasets."
    )


class TaskData(PublicSet):
    """The data of an auxiliary task: one public dataset, a mixture of several, or generated questions."""

    OMITTED_AT_DEFAULT: ClassVar[frozenset[str]] = PublicSet.OMITTED_AT_DEFAULT | {
        "mixture",
        "train_pictures",
    }

    mixture: dict[Name, MixedSet] = Field(
        default_factory=dict,
        description="Several public datasets by name. The layouts of robopoint, vica-332k, robo2vlm and "
        "bridgevqa are built in.",
    )
    train_pictures: Positive | Literal["all"] | None = Field(
        None,
        description="Number of training images. It replaces `auxiliary.train_pictures`. `all` uses the whole "
        "dataset, but is not possible with a mixture.",
    )

    @property
    def uses_public_sets(self) -> bool:
        """Whether public datasets replace the generated questions."""
        return self.dataset is not None or bool(self.mixture)

    @model_validator(mode="after")
    def _dataset_or_mixture(self) -> TaskData:
        if self.dataset is not None and self.mixture:
            raise ValueError("`dataset` and `mixture` exclude each other: write one of them")
        if self.mixture and self.train_pictures == "all":
            raise ValueError("train_pictures: a mixture never ends: write a number")
        if not self.uses_public_sets:
            for key in sorted(TaskData.OMITTED_AT_DEFAULT - {"mixture"}):
                if (
                    key in self.model_fields_set
                    and getattr(self, key) != type(self).model_fields[key].default
                ):
                    raise ValueError(f"`{key}` needs a `dataset`: add `dataset`, or remove `{key}`")
        return self

    def resolved_sets(self, task: str) -> dict[str, SetSettings]:
        """The datasets by name, with known layouts filled in. Raises ValueError that names the wrong key."""
        if self.dataset is not None:
            return {task: _resolved(self, task, f"tasks.{task}")}
        return {
            name: _resolved(each, name, f"tasks.{task}.mixture.{name}", each.weight)
            for name, each in self.mixture.items()
        }

    def public_source(self, task: str) -> PublicSource | None:
        """The source that the stage auxiliary-data reads, or None if the stage generates questions."""
        sets = self.resolved_sets(task)
        return PublicSource(sets=sets, train_pictures=self.train_pictures) if sets else None


def _resolved(each: PublicSet, name: str, key: str, weight: float = 1.0) -> SetSettings:
    try:
        return each.resolved(name, weight)
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from None


class SetSettings(Strict):
    """The settings of a `PublicSet`, with a value for every key."""

    dataset: str
    revision: str | None
    layout: Layout
    split: str
    files: list[str]
    pictures: str
    columns: dict[str, str]
    buffer: Positive
    held_out: HeldOutShare
    frames: Positive
    faulty: Literal["refuse", "skip"]
    axes: tuple[Axis, Axis, Axis]
    every: Positive
    weight: Rate


class PublicSource(Strict):
    """The public datasets of a task. `train_pictures`: replaces the shared number; `all` reads to the end."""

    sets: dict[str, SetSettings]
    train_pictures: Positive | Literal["all"] | None = None
