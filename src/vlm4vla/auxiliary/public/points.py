"""Points in the answers of public sets: tuples of shares of the picture's width and height, 0 to 1."""

from __future__ import annotations

import re

_NUMBER = r"\s*(-?\d*\.?\d+(?:[eE]-?\d+)?)\s*"
_POINT = re.compile(rf"\({_NUMBER},{_NUMBER}\)")
_BOX = re.compile(rf"\({_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\)")
SLACK = 1e-3  # of the rounding of printed shares


def read_places(text: str) -> list[tuple[float, float]]:
    """Points (column, row) of an answer such as `[(0.46, 0.53), (0.5, 0.52)]`; of boxes (column, row, width,
    height), their middles."""
    points = [(float(x), float(y)) for x, y in _POINT.findall(text)]
    boxes = ([float(number) for number in box] for box in _BOX.findall(text))
    return points + [(x + width / 2, y + height / 2) for x, y, width, height in boxes]


def is_places(text: str) -> bool:
    """Whether an answer is a list of points or boxes and nothing else."""
    return text.strip().startswith("[(") and bool(read_places(text))


def place_fault(text: str) -> str | None:
    """What is wrong with the points of an answer that is a list of them."""
    if not is_places(text):
        return None
    corners = [(float(x), float(y)) for x, y in _POINT.findall(text)]
    for box in _BOX.findall(text):
        x, y, width, height = map(float, box)
        corners += [(x, y), (x + width, y + height)]
    for column, row in corners:
        if not (-SLACK <= column <= 1 + SLACK and -SLACK <= row <= 1 + SLACK):
            return (
                f"point ({column:g}, {row:g}) lies outside the picture: write shares of its width and "
                "height, 0 to 1"
            )
    return None
