"""Samples of tables: an image with a question and its answer, or with a multiple-choice question."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator, Mapping
from typing import Any

from vlm4vla.auxiliary.public.sample import InvalidRow, Rows, Sample, picture_group
from vlm4vla.data.pictures.files import PictureFile

LETTERS = string.ascii_uppercase


class Tables:
    """Samples from rows of a table.

    `columns`: the column for each part of a sample. If there is a column for `choices`, the answer is a
    letter. `frames`: the number of frames of a video that are combined into one image.
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
        where = f"{file}: sample {row[columns['id']]!r}"
        picture = read_picture(row[columns["picture"]], self.frames)
        if picture is None:
            return InvalidRow(where, None)
        question, answer = row[columns["question"]], row[columns["answer"]]
        if not isinstance(question, str) or not question.strip() or answer is None or answer == "":
            return InvalidRow(where, "the question or the answer is empty: write both")
        question, answer = question.strip(), str(answer).strip()
        if "choices" in columns:
            choices = read_choices(row[columns["choices"]])
            letter = None if choices is None else correct_letter(choices, answer)
            if letter is None:
                return InvalidRow(
                    where,
                    f"answer {answer!r} is not one of the choices {row[columns['choices']]!r}: write a "
                    "letter, an index from 0 or the text of a choice",
                )
            question, answer = question_with_choices(question, choices), letter
        group = str(row.get(columns["group"]) or "") if columns["group"] else ""
        return Sample(
            str(row[columns["id"]]), picture, ((question, answer),), group or picture_group(picture)
        )


def read_picture(value: Any, frames: int = 1) -> PictureFile | None:
    """Return the image in a Hugging Face struct, in bytes or in a file name, or None if there is no image."""
    if isinstance(value, Mapping):
        if value.get("bytes"):
            return PictureFile(data=value["bytes"])
        value = value.get("path")
    if isinstance(value, bytes):
        return PictureFile(data=value)
    return PictureFile(path=value, frames=frames) if isinstance(value, str) and value else None


def read_choices(value: Any) -> list[str] | None:
    """Return the choices in a list, or in the text of a Python list, as some datasets write them.

    Returns None if the value is not a list of two or more choices.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(value, (list, tuple)) or not 1 < len(value) <= len(LETTERS):
        return None
    return [str(choice).strip() for choice in value]


def correct_letter(choices: list[str], answer: str) -> str | None:
    """Return the letter of the correct choice. `answer` is its text, its letter, or its index from 0."""
    letters = LETTERS[: len(choices)]
    if answer in choices:
        return letters[choices.index(answer)]
    if len(answer) == 1 and answer in letters:
        return answer
    return letters[int(answer)] if answer.isdigit() and int(answer) < len(choices) else None


def question_with_choices(question: str, choices: list[str]) -> str:
    """Return the question followed by one line per choice, each with its letter."""
    return "\n".join([question, *(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(choices))])
