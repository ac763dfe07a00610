"""Samples of tables: an image with a question and its answer, or with a multiple-choice question."""

from __future__ import annotations

import ast
import io
import string
import tokenize
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
        value = row[columns["picture"]]
        data = value.get("bytes") if isinstance(value, Mapping) else None
        if data is not None and not isinstance(data, bytes):
            problem = f"`bytes` of its image is {type(data).__name__}: write the bytes of a file, or `path`"
            return InvalidRow(where, problem)
        picture = read_picture(value, self.frames)
        if picture is None:
            return InvalidRow(where, None)
        question, answer = (plain_text(row[columns[role]]) for role in ("question", "answer"))
        if question is None or answer is None:
            problem = "the question or the answer is empty or is not one text: write both"
            return InvalidRow(where, problem)
        if "choices" in columns:
            given, choices = row[columns["choices"]], read_choices(row[columns["choices"]])
            if choices is None:
                problem = f"{given!r} is not a list of two or more different choices: write such a list"
                return InvalidRow(where, problem)
            letter = correct_letter(choices, row[columns["answer"]])
            if letter is None:
                return InvalidRow(
                    where,
                    f"answer {answer!r} is not one of the choices {given!r}, or names two of them: write a "
                    "letter, an index from 0 or the text of a choice",
                )
            question, answer = question_with_choices(question, choices), letter
        group = group_name(row, columns["group"]) or picture_group(picture)
        return Sample(str(row[columns["id"]]), picture, ((question, answer),), group, where)


def read_picture(value: Any, frames: int = 1) -> PictureFile | None:
    """Return the image in a Hugging Face struct, in bytes or in a file name, or None if there is no image."""
    if isinstance(value, Mapping):
        data = value.get("bytes")
        value = data if isinstance(data, bytes) and data else value.get("path")
    if isinstance(value, bytes):
        return PictureFile(data=value)
    return PictureFile(path=value, frames=frames) if isinstance(value, str) and value else None


def read_choices(value: Any) -> list[str] | None:
    """Return the choices in a list, or in the text of a Python list, as some datasets write them.

    Returns None unless the value is a list of two or more different choices, each with a text.
    """
    if isinstance(value, str):
        text = value
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
        if isinstance(value, (list, tuple)) and _string_count(text) > len(value):
            return None  # a comma is missing, and Python would join two choices
    if not isinstance(value, (list, tuple)) or not 1 < len(value) <= len(LETTERS):
        return None
    choices = [plain_text(choice) for choice in value]
    return None if None in choices or len(set(choices)) < len(choices) else choices


def _string_count(text: str) -> int:
    """Return the number of strings in the text of a Python list."""
    tokens = tokenize.generate_tokens(io.StringIO(text.strip()).readline)
    return sum(token.type == tokenize.STRING for token in tokens)


def correct_letter(choices: list[str], answer: Any) -> str | None:
    """Return the letter of the correct choice, or None if `answer` names no choice, or two.

    A number is an index from 0, even if a choice is the same number. A text is the text of a choice, its
    letter (`B`, `(B)`, `B.`), or its index. If one choice has the text and another one has the letter, the
    answer names two choices.
    """
    letters = LETTERS[: len(choices)]
    text = plain_text(answer)
    if text is None or isinstance(answer, bool):
        return None if text is None or text not in choices else letters[choices.index(text)]
    if isinstance(answer, (int, float)):
        return letters[int(text)] if text.isdigit() and int(text) < len(choices) else None
    bare = text.strip("().: ")
    by_letter = bare if len(bare) == 1 and bare in letters else None
    same = [letter for letter, choice in zip(letters, choices, strict=True) if choice == text]
    same = same or [a for a, choice in zip(letters, choices, strict=True) if choice.lower() == text.lower()]
    named = set(same) | ({by_letter} if by_letter else set())
    if named:
        return named.pop() if len(named) == 1 else None
    return letters[int(text)] if text.isdigit() and int(text) < len(choices) else None


def question_with_choices(question: str, choices: list[str]) -> str:
    """Return the question followed by one line per choice, each with its letter."""
    return "\n".join([question, *(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(choices))])
