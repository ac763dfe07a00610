"""Lists of image points in answers: read, write, check and score them.

Generated questions write points as words, `<x03> <y12> <x09> <y02>`: sixteenths of the image's width and
height. Public datasets write decimals, `[(0.46, 0.53), (0.5, 0.52)]`: shares of the width and height.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.statements import POINT_BINS, point_words

HIT_DISTANCE = 1.5 / POINT_BINS  # share of the image; largest distance of a hit in width and in height
ROUNDING = 1e-3  # error of printed decimals

_NUMBER = r"\s*(-?\d*\.?\d+(?:[eE]-?\d+)?)\s*"
_POINT = re.compile(rf"\({_NUMBER},{_NUMBER}\)")
_BOX = re.compile(rf"\({_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\)")


def points_f1(predicted: Sequence[Sequence[float]], true: Sequence[Sequence[float]]) -> float:
    """Return the F1 score of predicted points (column, row) in 0..1.

    A predicted point is a hit if it is within `HIT_DISTANCE` of a true point in both axes. Each true point
    counts for one predicted point; the nearest pairs are matched first.
    """
    if not predicted or not true:
        return float(predicted == true)
    pairs = sorted(
        (max(abs(a[0] - b[0]), abs(a[1] - b[1])), i, j)
        for i, a in enumerate(predicted)
        for j, b in enumerate(true)
    )
    unmatched, free = set(range(len(predicted))), set(range(len(true)))
    for distance, i, j in pairs:
        if distance <= HIT_DISTANCE and i in unmatched and j in free:
            unmatched.remove(i)
            free.remove(j)
    hits = len(predicted) - len(unmatched)
    return 2 * hits / (len(predicted) + len(true))


# Words -------------------------------------------------------------------------------------------------


def write_point_words(points: Iterable[Sequence[float]]) -> str:
    """Write points (column, row) in 0..1 as words, from left to right. Raises UserError if one is outside."""
    ordered = sorted((float(column), float(row)) for column, row in points)
    for column, row in ordered:
        if not (0 <= column <= 1 and 0 <= row <= 1):
            raise UserError(
                f"auxiliary data: point ({column:.3f}, {row:.3f}) is outside the image: "
                "write column and row as shares of its width and height, from 0 to 1"
            )
    return " ".join(point_words(each) for each in ordered)


def read_point_words(text: str) -> list[tuple[float, float]]:
    """Read the points (column, row) in 0..1 of a text, each at the centre of its cell. Skip other words."""
    found = re.findall(r"<x(\d\d)> <y(\d\d)>", text)
    return [((int(x) + 0.5) / POINT_BINS, (int(y) + 0.5) / POINT_BINS) for x, y in found]


def point_words_error(text: str) -> str | None:
    """Return what is wrong with the points of an answer: a sixteenth that does not exist, or decimals."""
    for axis, number in re.findall(r"<([xy])(-?\d+)>", text):
        if not 0 <= int(number) < POINT_BINS:
            return (
                f"<{axis}{number}> is outside the image: write sixteenths of the image, <{axis}00> to "
                f"<{axis}{POINT_BINS - 1}>"
            )
    for column, row in re.findall(r"\(\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*\)", text):
        inside = 0 <= float(column) <= 1 and 0 <= float(row) <= 1
        problem = "is a point in decimals" if inside else "is outside the image"
        return f"({column}, {row}) {problem}: write sixteenths of the image, <x00> to <x{POINT_BINS - 1}>"
    return None


def point_words_score(answer: str, truth: str) -> float:
    """Return the F1 score of the answer's points."""
    return points_f1(read_point_words(answer), read_point_words(truth))


# Decimals ----------------------------------------------------------------------------------------------


def read_decimal_points(text: str) -> list[tuple[float, float]]:
    """Read the points (column, row) of an answer such as `[(0.46, 0.53), (0.5, 0.52)]`.

    A box (column, row, width, height) counts as a point at its centre.
    """
    points = [(float(x), float(y)) for x, y in _POINT.findall(text)]
    boxes = ([float(number) for number in box] for box in _BOX.findall(text))
    return points + [(x + width / 2, y + height / 2) for x, y, width, height in boxes]


def is_decimal_points(text: str) -> bool:
    """Return whether an answer is a list of points or boxes."""
    return re.match(r"\s*\[\s*\(", text) is not None and bool(read_decimal_points(text))


def decimal_points_error(text: str) -> str | None:
    """Return what is wrong with the points or boxes of an answer. None also if it is no list of points."""
    if not is_decimal_points(text):
        return None
    corners = [(float(x), float(y)) for x, y in _POINT.findall(text)]
    for box in _BOX.findall(text):
        x, y, width, height = map(float, box)
        corners += [(x, y), (x + width, y + height)]
    for column, row in corners:
        if not (-ROUNDING <= column <= 1 + ROUNDING and -ROUNDING <= row <= 1 + ROUNDING):
            return (
                f"point ({column:g}, {row:g}) is outside the image: write shares of its width and height, "
                "from 0 to 1"
            )
    return None
