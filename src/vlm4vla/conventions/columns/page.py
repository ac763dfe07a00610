"""docs/results.md: every column and key of the files of a study, from their descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from vlm4vla.conventions.columns.description import ColumnText, FileKind
from vlm4vla.conventions.columns.stages import FOREIGN_KINDS, STAGE_KINDS
from vlm4vla.conventions.columns.tables import TABLE_KINDS

KINDS = (*TABLE_KINDS, *STAGE_KINDS, *FOREIGN_KINDS)
_INTRODUCTION = """# Files of results

<!-- `make schema` writes this page from src/vlm4vla/conventions/columns. -->

This page describes every column of every CSV, TSV and Parquet file and every key of every JSON file in a
results folder, `results/STUDY/`. The paths are relative to this folder; `*` stands for names. In the path of
a JSON key, `[]` stands for the elements of a list. The keys of config.yaml are described in
workflow/schemas/config.schema.json.

The columns of Parquet files that the study writes also carry their descriptions. In Python,
`pyarrow.parquet.read_schema(FILE).field(NAME).metadata` has `description` and, for numbers with a unit,
`unit`. Files of earlier versions lack them. Their rows are the same.
"""


def kind_of(path: str) -> FileKind | None:
    """The kind of the file with this path below the results folder; the first that fits counts."""
    return next((kind for kind in KINDS if any(fnmatchcase(path, each) for each in kind.patterns)), None)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", r"\|")


def _section(kind: FileKind, described: dict[str, set[str]]) -> Iterator[str]:
    """The parts of a kind of file.

    `described`: the meanings that the page has given to each name so far. A key of JSON whose name has had
    its meaning, and no other one, is listed by name only.
    """
    yield f"## {kind.title}"
    yield f"{', '.join(f'`{each}`' for each in kind.patterns)}"
    yield kind.about
    first = {
        column.path: column for column in reversed(kind.columns)
    }  # of two descriptions, the first counts
    lines, repeated = [], {}
    for column in sorted(first.values(), key=kind.columns.index):
        *parent, name = column.path
        meanings = described.setdefault(name, set())
        if parent and meanings == {column.meaning}:
            repeated.setdefault(ColumnText(tuple(parent), "").name, []).append(f"`{name}`")
            continue
        lines.append(f"| `{column.name}` | {_cell(column.unit)} | {_cell(column.meaning)} |")
        meanings.add(column.meaning)
    if lines:
        yield "\n".join(["| name | unit | meaning |", "| --- | --- | --- |", *lines])
    if repeated:
        yield "These keys have the meaning and unit that this page gives above under the same name:"
        yield "\n".join(f"- `{parent}`: {', '.join(names)}" for parent, names in repeated.items())


def page() -> str:
    """The text of docs/results.md."""
    parts: list[str] = [_INTRODUCTION.rstrip()]
    described: dict[str, set[str]] = {}
    for kind in (*TABLE_KINDS, *STAGE_KINDS):
        parts += _section(kind, described)
    parts.append("# Files in formats of other software")
    for kind in FOREIGN_KINDS:
        parts += _section(kind, described)
    return "\n\n".join(parts) + "\n"
