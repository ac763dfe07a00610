"""Samples of tables: a picture with a question and its answer, which may be one of several choices."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator, Mapping
from typing import Any

from vlm4vla.auxiliary.public.sample import Fault, Rows, Sample, picture_group
from vlm4vla.data.pictures.files import PictureFile

LETTERS = string.ascii_uppercase


class Tables:
    """`columns`: which column is what; with a column of `choices` the answer is a letter."""

    def __init__(self, rows: Rows, columns: Mapping[str, str], frames: int):
        self.rows = rows
        self.columns = columns
        self.frames = frames

    @property
    def position(self) -> Any:
        return self.rows.position

    def read(self, position: Any = None) -> Iterator[Sample | Fault]:
        """See `Samples`."""
        for file, row in self.rows.read(position):
            yield self._sample(file, row)

    def _sample(self, file: str, row: Mapping[str, Any]) -> Sample | Fault:
        columns = self.columns
        where = f"{file}: sample {row[columns['id']]!r}"
        picture = picture_of(row[columns["picture"]], self.frames)
        if picture is None:
            return Fault(where, None)
        question, answer = row[columns["question"]], row[columns["answer"]]
        if not isinstance(question, str) or not question.strip() or answer is None or answer == "":
            return Fault(where, "has no question or no answer: write both")
        question, answer = question.strip(), str(answer).strip()
        if "choices" in columns:
            choices = read_choices(row[columns["choices"]])
            letter = None if choices is None else right_letter(choices, answer)
            if letter is None:
                return Fault(
                    where,
                    f"answer {answer!r} is none of the choices {row[columns['choices']]!r}: write a letter, "
                    "a number from 0 or one of them",
                )
            question, answer = with_choices(question, choices), letter
        group = str(row.get(columns["group"]) or "") if columns["group"] else ""
        return Sample(
            str(row[columns["id"]]), picture, ((question, answer),), group or picture_group(picture)
        )


def picture_of(value: Any, frames: int = 1) -> PictureFile | None:
    """A picture of a Hugging Face struct, of bytes or of a file's name; None where there is none."""
    if isinstance(value, Mapping):
        if value.get("bytes"):
            return PictureFile(data=value["bytes"])
        value = value.get("path")
    if isinstance(value, bytes):
        return PictureFile(data=value)
    return PictureFile(path=value, frames=frames) if isinstance(value, str) and value else None


def read_choices(value: Any) -> list[str] | None:
    """Choices of a list, or of text that is a Python list of words, as some sets write them."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(value, (list, tuple)) or not 1 < len(value) <= len(LETTERS):
        return None
    return [str(choice).strip() for choice in value]


def right_letter(choices: list[str], answer: str) -> str | None:
    """The letter of the right choice: `answer` is its letter, its place from 0, or itself."""
    letters = LETTERS[: len(choices)]
    if answer in choices:
        return letters[choices.index(answer)]
    if len(answer) == 1 and answer in letters:
        return answer
    return letters[int(answer)] if answer.isdigit() and int(answer) < len(choices) else None


def with_choices(question: str, choices: list[str]) -> str:
    """The question with its choices, a letter each, on lines of their own."""
    return "\n".join([question, *(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(choices))])
