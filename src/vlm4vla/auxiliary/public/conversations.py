"""Samples of datasets in LLaVA's format: an image or a video, and a conversation about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm4vla.auxiliary.public.sample import (
    InvalidRow,
    Rows,
    Sample,
    group_name,
    picture_group,
    plain_text,
)
from vlm4vla.data.pictures.files import PictureFile

HUMAN, MODEL = ("human", "user"), ("gpt", "assistant")
# Marks the image in the text. It is removed, because the backbone's prompt has its own image tokens.
PLACEHOLDER = re.compile(r"\s*<(?:image|video)>\s*")


class Conversations:
    """Samples from rows of conversations.

    `columns`: the key of a row for each part of a sample. `frames`: the number of frames of a video that are
    combined into one image.
    """

    def __init__(self, rows: Rows, columns: Mapping[str, str], frames: int):
        self.rows = rows
        self.columns = columns
        self.frames = frames

    @property
    def position(self) -> Any:
        return self.rows.position

    def read(self, position: Any = None) -> Iterator[Sample | InvalidRow]:
        """See `PublicSamples`."""
        for file, row in self.rows.read(position):
            yield self._sample(file, row)

    def _sample(self, file: str, row: Mapping[str, Any]) -> Sample | InvalidRow:
        columns = self.columns
        where = f"{file}: sample {row.get(columns['id'])!r}"
        missing = [c for c in (columns["id"], columns["conversations"]) if c not in row]
        if missing:
            return InvalidRow(where, f"key {missing[0]!r} is missing: write another key in `columns`")
        image = row.get(columns["picture"])
        if isinstance(image, list) and image:
            if len(image) > 1:
                return InvalidRow(where, f"has {len(image)} images, but a policy sees one: remove the row")
            image = image[0]
        if not image:
            return InvalidRow(where, None)
        if not isinstance(image, str):
            return InvalidRow(where, f"its image is {image!r}: write the name of one file")
        turns = row[columns["conversations"]]
        statements = question_answer_pairs(turns)
        if not statements:
            return InvalidRow(where, "has no human turn with an answer: write `from` and `value` of both")
        picture = PictureFile(path=image, frames=self.frames)
        group = group_name(row, columns["group"]) or picture_group(picture)
        return Sample(str(row[columns["id"]]), picture, tuple(statements), group, where)


def question_answer_pairs(turns: Any) -> list[tuple[str, str]]:
    """Return the questions and answers of a conversation, without image placeholders.

    The turns are `[{from, value}, ...]` or `[{role, content}, ...]`.
    """
    pairs: list[tuple[str, str]] = []
    question: str | None = None
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, Mapping):
            continue
        speaker, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        # A turn without a text still ends the question before it, or else another answer would follow it.
        text = text if isinstance(text, str) else ""
        if speaker in HUMAN:
            question = plain_text(PLACEHOLDER.sub(" ", text))
        elif speaker in MODEL:
            answer = plain_text(text)
            if question and answer:
                pairs.append((question, answer))
            question = None
    return pairs
