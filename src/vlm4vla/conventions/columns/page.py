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


def _section(kind: FileKind, described: set[tuple[tuple[str, ...], str]]) -> Iterator[str]:
    """The parts of a kind of file. Keys that an earlier section has `described` are listed by name only."""
    yield f"## {kind.title}"
    yield f"{', '.join(f'`{each}`' for each in kind.patterns)}"
    yield kind.about
    first = {
        column.path: column for column in reversed(kind.columns)
    }  # of two descriptions, the first counts
    lines, repeated = [], {}
    for column in sorted(first.values(), key=kind.columns.index):
        if (column.path[-1:], column.meaning) in described and len(column.path) > 1:
            *parent, name = column.path
            repeated.setdefault(ColumnText(tuple(parent), "").name, []).append(f"`{name}`")
            continue
        lines.append(f"| `{column.name}` | {_cell(column.unit)} | {_cell(column.meaning)} |")
    if lines:
        yield "\n".join(["| name | unit | meaning |", "| --- | --- | --- |", *lines])
    if repeated:
        yield "As in the sections above:"
        yield "\n".join(f"- `{parent}`: {', '.join(names)}" for parent, names in repeated.items())
    described |= {(column.path[-1:], column.meaning) for column in kind.columns}


def page() -> str:
    """The text of docs/results.md."""
    parts, described = [_INTRODUCTION.rstrip()], set()
    for kind in (*TABLE_KINDS, *STAGE_KINDS):
        parts += _section(kind, described)
    parts.append("# Files in formats of other software")
    for kind in FOREIGN_KINDS:
        parts += _section(kind, described)
    return "\n\n".join(parts) + "\n"
