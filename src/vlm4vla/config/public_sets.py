"""Public sets of questions about pictures: where they lie, and what in them is what.

An auxiliary task learns from one set (`dataset`), or from a weighted `mixture` of some. What is known of a
set's layout by name stands in `KNOWN`; the configuration may say otherwise, key by key.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Name, Positive, Rate, Sparse, Strict
from vlm4vla.core.errors import nearest

Layout = Literal["conversations", "choices", "answers", "demonstrations"]
Axis = Literal["forward", "backward", "left", "right", "up", "down"]
HeldOutShare = Annotated[float, Field(gt=0, lt=1)]

# What a row of each layout consists of, and the column that each is read from unless `columns` says another.
# `group`: rows with the same one are never in both splits; "" is the picture itself.
ROLES: dict[Layout, dict[str, str]] = {
    # LLaVA's: JSON lists of {id, image, conversations: [{from: human, value}, {from: gpt, value}, ...]}
    "conversations": {"id": "id", "picture": "image", "conversations": "conversations", "group": ""},
    # tables with a picture, a question, its choices and which of them is right
    "choices": {
        "id": "id",
        "picture": "image",
        "question": "question",
        "choices": "choices",
        "answer": "correct_answer",
        "group": "",
    },
    # tables with a picture, a question and its answer
    "answers": {"id": "id", "picture": "image", "question": "question", "answer": "answer", "group": ""},
    # frames of a LeRobot data set; `picture` is the camera's feature, "" the first camera
    "demonstrations": {"picture": "", "state": "observation.state", "group": ""},
}
TABLE_FILES = ["data/{split}-*.parquet", "{split}/*.parquet", "{split}*.parquet", "*.parquet"]
# What is known of the sets that the study's tasks are named after (their cards and their users' loaders).
KNOWN: dict[str, dict[str, Any]] = {
    "robopoint": {
        "layout": "conversations",
        "files": ["robopoint_1432k.json"],
        "pictures": "images",
    },
    # videos of ScanNet, ScanNet++ and ARKitScenes, which are not in the set: below `pictures`
    "vica-332k": {
        "layout": "conversations",
        "files": ["*/base/*.json", "*/complex/*.json"],
        "pictures": "video",
        "columns": {"picture": "video"},
    },
    "robo2vlm": {"layout": "choices"},
    "bridgevqa": {"layout": "demonstrations"},
}


class PublicSet(Sparse):
    """One set: a local folder, or with `revision` a hub name.

    `files`: patterns of its annotation files, below the folder; `{split}` in them is `split`. `pictures`: the
    folder that its rows name pictures in, below the set's folder or anywhere. `columns`: where another column
    than `ROLES` says is read. `held_out`: share of the pictures that are never trained on. `frames`: of a
    video, shown side by side in one picture. `faulty`: what to do about a row that cannot be used. `axes`:
    where the first three numbers of a LeRobot state point to. `every`: which frames of demonstrations.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"dataset", "layout", "split", "files", "pictures", "columns", "buffer", "held_out", "frames"}
        | {"faulty", "axes", "every"}
    )

    dataset: str | None = None
    revision: str | None = None
    layout: Layout | None = None
    split: str = "train"
    files: Annotated[list[str], Field(min_length=1)] | None = None
    pictures: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    buffer: Positive = 1000  # samples that are read and shuffled together
    held_out: HeldOutShare = 0.02
    frames: Positive = 1
    faulty: Literal["refuse", "skip"] = "refuse"
    axes: tuple[Axis, Axis, Axis] = ("forward", "left", "up")
    every: Positive = 5

    def resolved(self, name: str, weight: float = 1.0) -> SetSettings:
        """This set with what is known of `name` filled in. Raises ValueError for what is missing."""
        if self.dataset is None:
            raise ValueError("dataset is missing: write a folder, or a hub name with its `revision`")
        known = KNOWN.get(name, {})
        layout = self.layout or known.get("layout")
        if layout is None:
            raise ValueError(f"layout is missing: write one of {', '.join(ROLES)}")
        if layout != known.get("layout"):
            known = {}
        for role in self.columns:
            if role not in ROLES[layout]:
                raise ValueError(f"columns.{role}: unknown part of a row: {nearest(role, ROLES[layout])}")
        files = self.files or known.get("files")
        if files is None and layout == "conversations":
            raise ValueError('files is missing: write patterns of its JSON files, such as ["*.json"]')
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
    """A set of a mixture; `weight`: its share of the samples, relative to the others'."""

    weight: Rate = 1.0


class TaskSet(PublicSet):
    """What a task learns from: a set, or a `mixture` of sets whose names may be known ones (`KNOWN`).

    `train_pictures` replaces the shared number; `all` takes the whole set, which a mixture has not.
    """

    LATER: ClassVar[frozenset[str]] = PublicSet.LATER | {"mixture", "train_pictures"}

    mixture: dict[Name, MixedSet] = Field(default_factory=dict)
    train_pictures: Positive | Literal["all"] | None = None

    @property
    def has_set(self) -> bool:
        """Whether public sets stand in place of generated questions."""
        return self.dataset is not None or bool(self.mixture)

    @model_validator(mode="after")
    def _one_kind(self) -> TaskSet:
        if self.dataset is not None and self.mixture:
            raise ValueError("`dataset` and `mixture` are two sources: write one of them")
        if self.mixture and self.train_pictures == "all":
            raise ValueError("train_pictures: a mixture has no end: write a number")
        if not self.has_set:
            for key in sorted(TaskSet.LATER - {"mixture"}):
                if (
                    key in self.model_fields_set
                    and getattr(self, key) != type(self).model_fields[key].default
                ):
                    raise ValueError(f"`{key}` belongs to a `dataset`: write that too, or leave it out")
        return self

    def members(self, task: str) -> dict[str, SetSettings]:
        """The sets by name, what is known filled in. Raises ValueError that names the key at fault."""
        if self.dataset is not None:
            return {task: _resolved(self, task, f"tasks.{task}")}
        return {
            name: _resolved(each, name, f"tasks.{task}.mixture.{name}", each.weight)
            for name, each in self.mixture.items()
        }

    def public(self, task: str) -> PublicSource | None:
        """What the stage auxiliary-data reads; None where it generates."""
        members = self.members(task)
        return PublicSource(sets=members, train_pictures=self.train_pictures) if members else None


def _resolved(each: PublicSet, name: str, key: str, weight: float = 1.0) -> SetSettings:
    try:
        return each.resolved(name, weight)
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from None


class SetSettings(Strict):
    """A `PublicSet`, every key said."""

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
    """The sets of a task. `train_pictures`: in place of the shared number; `all`: until the set ends."""

    sets: dict[str, SetSettings]
    train_pictures: Positive | Literal["all"] | None = None
