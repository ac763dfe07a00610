"""Checks of what info.json and stats.json of a dataset from elsewhere say, before anything relies on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Any

import numpy as np

from vlm4vla.core.errors import UserError, one_line
from vlm4vla.core.inside import bad_name

MOST_NUMBERS = 10_000_000  # of a feature per frame: more than the largest images have
LONGEST_PATH, LONGEST_KEY = 1000, 100  # characters; a longer key is cut in messages
_AGAIN = "download the dataset again, or write it again"
_SPEC = re.compile(r"0?[0-9]{0,2}d?")  # such as 06d: a width of at most 99


def check_features(path: Path, features: Mapping[str, Any]) -> None:
    """Raise UserError, which names `path` and the feature, unless each feature has a usable description.

    A description has a dtype, a shape of whole numbers, and names as a list or as a mapping with a list.
    """
    for name, feature in features.items():

        def fault(key: str, value: Any, expected: str, name: str = name) -> UserError:
            shown = repr(value)[:60]
            return UserError(f"{path}: features.{_shown(name)}{key}: {shown} is not {expected}: {_AGAIN}")

        if not isinstance(feature, Mapping):
            raise fault("", feature, "a description with dtype and shape")
        shape, names = feature.get("shape"), feature.get("names")
        if shape is not None:
            whole = isinstance(shape, (list, tuple)) and all(
                isinstance(each, int) and not isinstance(each, bool) and each > 0 for each in shape
            )
            if not whole or np.prod([float(each) for each in shape]) > MOST_NUMBERS:
                raise fault(
                    ".shape", shape, f"a list of whole numbers above 0 (at most {MOST_NUMBERS} in all)"
                )
        if not isinstance(feature.get("dtype", ""), str):
            raise fault(".dtype", feature["dtype"], "a word")
        if names is not None and not isinstance(names, (list, tuple, Mapping)):
            raise fault(".names", names, "a list of names")
        for key in ("info", "video_info"):
            if not isinstance(feature.get(key) or {}, Mapping):
                raise fault(f".{key}", feature[key], "a mapping")


def check_statistics(path: Path, stats: Mapping[str, Any]) -> None:
    """Raise UserError, which names `path` and the key, unless the statistics of each feature are numbers."""
    for name, feature in stats.items():
        if not isinstance(feature, Mapping):
            raise UserError(
                f"{path}: {_shown(name)}: {repr(feature)[:60]} is not a mapping of statistics: {_AGAIN}"
            )
        for key, value in feature.items():
            try:
                found = np.asarray(value)
                numeric = found.dtype.kind in "iuf"
            except ValueError:  # lists of different lengths
                numeric = False
            if not numeric:
                raise UserError(
                    f"{path}: {_shown(f'{name}.{key}')}: {repr(value)[:60]} is not a list of numbers: "
                    f"{_AGAIN}"
                )


def _shown(name: str) -> str:
    """A key of a file, short and in one line."""
    return one_line(name)[:LONGEST_KEY]


def filled_in(path: Path, key: str, pattern: Any, fields: Mapping[str, Any]) -> str:
    """Fill in the path template `key` of info.json; the path is relative to the dataset's folder.

    Raises UserError, which names `path`, for a template with other placeholders than `fields`, and for one
    that leads out of the folder.
    """
    try:
        if not isinstance(pattern, str):
            raise ValueError("no text")
        for _, field, spec, conversion in Formatter().parse(pattern):
            if field is not None and (field not in fields or conversion):
                raise ValueError(f"the placeholder {field!r}")
            if field is not None and spec and not _SPEC.fullmatch(spec):
                raise ValueError(f"the format {spec!r}")
        name = pattern.format(**fields)
    except ValueError:
        raise UserError(
            f"{path}: {key} is {repr(pattern)[:200]}, which gives no path from {', '.join(fields)}: {_AGAIN}"
        ) from None
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or "\\" in name or "\0" in name:
        raise UserError(
            f"{path}: {key} is {repr(pattern)[:200]}, which leaves the dataset's folder: {_AGAIN}"
        )
    if not 0 < len(name) <= LONGEST_PATH:
        raise UserError(f"{path}: {key} gives a path of {len(name)} characters: {_AGAIN}")
    if (problem := bad_name(name)) is not None:
        raise UserError(f"{path}: {key} gives the path {name!r}, which {problem}: {_AGAIN}")
    return name
