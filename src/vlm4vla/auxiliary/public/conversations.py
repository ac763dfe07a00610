"""Samples of sets in LLaVA's form: a picture, or a video, and turns of a human and a model about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm4vla.auxiliary.public.sample import Fault, Rows, Sample, picture_group
from vlm4vla.data.pictures.files import PictureFile

HUMAN, MODEL = ("human", "user"), ("gpt", "assistant")
# what stands in the text where the picture goes, which the backbone's own prompt says
PLACEHOLDER = re.compile(r"\s*<(?:image|video)>\s*")


class Conversations:
    """`columns`: which key of a row is what; `frames`: of a video, shown in one picture."""

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
        where = f"{file}: sample {row.get(columns['id'])!r}"
        missing = [c for c in (columns["id"], columns["conversations"]) if c not in row]
        if missing:
            return Fault(where, f"{missing[0]!r} is missing: say in `columns` which key is meant")
        named = row.get(columns["picture"])
        if not named:
            return Fault(where, None)
        if isinstance(named, list):
            if len(named) > 1:
                return Fault(where, f"has {len(named)} pictures: a policy sees one, take it out")
            named = named[0]
        turns = row[columns["conversations"]]
        statements = pairs(turns)
        if not statements:
            return Fault(where, "has no turn of a human with an answer: write `from` and `value` of both")
        picture = PictureFile(path=str(named), frames=self.frames)
        group = str(row.get(columns["group"], "")) or picture_group(picture)
        return Sample(str(row[columns["id"]]), picture, tuple(statements), group)


def pairs(turns: Any) -> list[tuple[str, str]]:
    """Questions and answers of `[{from, value}, ...]` or `[{role, content}, ...]`, without placeholders."""
    found: list[tuple[str, str]] = []
    asked: str | None = None
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, Mapping):
            continue
        who, said = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if not isinstance(said, str):
            continue
        if who in HUMAN:
            asked = PLACEHOLDER.sub(" ", said).strip()
        elif who in MODEL and asked:
            if said.strip():
                found.append((asked, said.strip()))
            asked = None
    return found
