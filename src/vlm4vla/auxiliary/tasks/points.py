"""Lists of image points as text: `<x03> <y12> <x09> <y02>`, sixteenths of the picture's width and height."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.points import BINS, point

NEAR = 1.5 / BINS  # of the picture's width: a point this near a true one is a hit


def write_points(points: Iterable[Sequence[float]]) -> str:
    """Text of points (column, row) in 0..1, from left to right. Raises UserError for one outside."""
    ordered = sorted((float(column), float(row)) for column, row in points)
    for column, row in ordered:
        if not (0 <= column <= 1 and 0 <= row <= 1):
            raise UserError(
                f"auxiliary data: point ({column:.3f}, {row:.3f}) lies outside the picture: "
                "write column and row as shares of its width and height, 0 to 1"
            )
    return " ".join(point(each) for each in ordered)


def read_points(text: str) -> list[tuple[float, float]]:
    """Points (column, row) in 0..1 of a text, in the middle of their sixteenths; other words are skipped."""
    found = re.findall(r"<x(\d\d)> <y(\d\d)>", text)
    return [((int(x) + 0.5) / BINS, (int(y) + 0.5) / BINS) for x, y in found]


def _inside(number: str) -> bool:
    return 0 <= float(number) <= 1


def point_fault(text: str) -> str | None:
    """What is wrong with the points of an answer: a sixteenth that does not exist, numbers for tokens."""
    for axis, number in re.findall(r"<([xy])(-?\d+)>", text):
        if not 0 <= int(number) < BINS:
            return (
                f"<{axis}{number}> lies outside the picture: write sixteenths of it, <{axis}00> to "
                f"<{axis}{BINS - 1}>"
            )
    for column, row in re.findall(r"\(\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*\)", text):
        where = "is a point in numbers" if _inside(column) and _inside(row) else "lies outside the picture"
        return f"({column}, {row}) {where}: write sixteenths, <x00> to <x{BINS - 1}>"
    return None


def points_score(answer: str, truth: str) -> float:
    """F1 of the answer's points."""
    return f1(read_points(answer), read_points(truth))


def f1(given: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]]) -> float:
    """F1 of points (column, row) in 0..1.

    A point is a hit when it is `NEAR` a true one that no other point has taken.
    """
    if not given or not wanted:
        return float(given == wanted)
    pairs = sorted(
        (max(abs(a[0] - b[0]), abs(a[1] - b[1])), i, j)
        for i, a in enumerate(given)
        for j, b in enumerate(wanted)
    )
    left, right = set(range(len(given))), set(range(len(wanted)))
    for away, i, j in pairs:
        if away <= NEAR and i in left and j in right:
            left.remove(i)
            right.remove(j)
    hits = len(given) - len(left)
    return 2 * hits / (len(given) + len(wanted))
