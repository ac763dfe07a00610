"""Which columns and keys of the files in a results folder no description covers."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from vlm4vla.conventions.columns.description import paths
from vlm4vla.conventions.columns.page import kind_of

ENDINGS = (".csv", ".tsv", ".parquet", ".json", ".jsonl")


def written_paths(file: Path) -> list[tuple[str, ...]]:
    """The columns of a CSV, TSV or Parquet file, or the keys of a JSON file, as paths."""
    match file.suffix:
        case ".parquet":
            return [(name,) for name in pq.read_schema(file).names]
        case ".csv" | ".tsv":
            with file.open(newline="") as handle:
                names = next(csv.reader(handle, delimiter="\t" if file.suffix == ".tsv" else ","))
            return [(name,) for name in names]
        case ".jsonl":
            values = [json.loads(line) for line in file.read_text().splitlines()]
            return list(dict.fromkeys(path for value in values for path in paths(value)))
    return list(dict.fromkeys(paths(json.loads(file.read_text()))))


def undescribed(root: Path) -> Iterator[str]:
    """A line for each column or key that is written below `root` and not described, and what to add."""
    seen = set()
    for file in sorted(root.rglob("*")):
        if file.suffix not in ENDINGS or not file.is_file():
            continue
        name = file.relative_to(root).as_posix()
        kind = kind_of(name)
        if kind is None:
            yield f"{name}: add a FileKind for this file to src/vlm4vla/conventions/columns/stages.py"
            continue
        for path in () if kind.foreign else written_paths(file):
            if not kind.describes(path) and (kind.title, path) not in seen:
                seen.add((kind.title, path))
                yield (
                    f"{name}: {'.'.join(path)}: add a column or key to the FileKind {kind.title!r} in "
                    "src/vlm4vla/conventions/columns, then run `make schema`"
                )
