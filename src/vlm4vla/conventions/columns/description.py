"""What a column or a key means: the records of which docs/results.md and its tests are made.

To describe a new column, add a `column` or `key` to the kind of file that has it: in tables.py for the tables
of a study, in stages.py for the files of stages. Then run `make schema`, which writes docs/results.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

ITEM = "[]"  # in the path of a JSON key: an element of a list


@dataclass(frozen=True)
class ColumnText:
    """A column of CSV, TSV or Parquet, or a key of JSON.

    `path`: the names that lead to the value. A column has one name. Each name may have the wildcards of
    `fnmatch`; ITEM stands for the elements of a list. `meaning`: one or more sentences. `unit`: empty for
    text, and for numbers whose unit follows from another column. `whole`: the description holds for all keys
    below this one.
    """

    path: tuple[str, ...]
    meaning: str
    unit: str = ""
    whole: bool = False

    @property
    def name(self) -> str:
        """The path as the page shows it, such as `records[].value`."""
        return ".".join(self.path).replace(f".{ITEM}", ITEM)

    def matches(self, path: tuple[str, ...]) -> bool:
        own = self.path
        if len(path) < len(own) or (len(path) > len(own) and not self.whole):
            return False
        return all(
            name == pattern or fnmatchcase(name, pattern) for name, pattern in zip(path, own, strict=False)
        )


@dataclass(frozen=True)
class FileKind:
    """Files with the same columns. `patterns`: their paths below the results folder, for `fnmatch`.

    `about`: what a file holds and what one row is.
    """

    title: str
    patterns: tuple[str, ...]
    about: str
    columns: tuple[ColumnText, ...] = ()
    foreign: bool = False
    """Whether another software defines the content, so that no column is described here."""

    def describes(self, path: tuple[str, ...]) -> bool:
        return self.foreign or any(column.matches(path) for column in self.columns)


def column(name: str, meaning: str, unit: str = "") -> ColumnText:
    """A column of CSV, TSV or Parquet, whose name may contain dots."""
    return ColumnText((name,), meaning, unit)


def key(path: str, meaning: str, unit: str = "", *, whole: bool = False) -> ColumnText:
    """A key of JSON, such as `inputs.*.sha256`. `[]` after a name stands for the elements of a list."""
    names = path.replace(ITEM, f".{ITEM}").split(".")
    return ColumnText(tuple(name for name in names if name), meaning, unit, whole)


def below(prefix: str, columns: tuple[ColumnText, ...]) -> tuple[ColumnText, ...]:
    """The columns as keys of the JSON records at `prefix`, such as `records[]`."""
    first = key(prefix, "").path
    return tuple(ColumnText((*first, *each.path), each.meaning, each.unit, each.whole) for each in columns)


def paths(value: Any, start: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key in JSON values, without those of the same list twice."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield (*start, str(name))
            yield from paths(inner, (*start, str(name)))
    elif isinstance(value, list):
        found = dict.fromkeys(path for item in value for path in paths(item, (*start, ITEM)))
        yield from found
