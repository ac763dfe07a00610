"""Placement of the labels in a scatter plot: they cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

CLEAR = 4.0  # free pixels around a point
DISTANCES = (7, 11, 16, 24, 34, 46, 60, 80, 105, 135, 170, 210)  # from a point to its label, in pixels
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False) + np.pi / 4  # the upper right is tried first

Box = tuple[float, float, float, float]  # left, bottom, right, top


def place_labels(points: np.ndarray, sizes: np.ndarray, frame: Box, bars: Sequence[Box] = ()) -> np.ndarray:
    """The centres (n, 2) of labels with `sizes` (n, 2) at `points` (n, 2), within `frame`; all in pixels.

    Labels of crowded points are placed first. Each label takes the position with the lowest cost among those
    where its box is free. The cost is the distance to the point, plus penalties if the line to the point
    crosses another label or point, and if the box covers one of `bars` (intervals). A label without any free
    position stays at the upper right of its point.
    """
    points, sizes = np.asarray(points, dtype=float), np.asarray(sizes, dtype=float)
    dots = [(x - CLEAR, y - CLEAR, x + CLEAR, y + CLEAR) for x, y in points]
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    crowding = (1 / (distances + 20)).sum(axis=1)
    centres, taken = np.empty_like(points), []
    for index in np.argsort(-crowding, kind="stable"):
        best, lowest = None, np.inf
        for distance, centre, box in _candidates(points[index], sizes[index]):
            if not _inside(box, frame) or any(overlap(box, other) for other in (*dots, *taken)):
                continue
            line = (tuple(points[index]), tuple(centre))
            crossed = sum(_crosses(line, other) for other in taken)
            crossed_dots = sum(_crosses(line, dot) for other, dot in enumerate(dots) if other != index)
            covered = sum(overlap(box, bar) for bar in bars)
            cost = distance + 60 * crossed + 20 * crossed_dots + 14 * covered
            if cost < lowest:
                best, lowest = (centre, box), cost
        if best is None:
            centre = points[index] + (CLEAR + sizes[index][0] / 2, CLEAR + sizes[index][1] / 2)
            best = (centre, _box(centre, sizes[index]))
        centres[index] = best[0]
        taken.append(best[1])
    return centres


def all_free(centres: np.ndarray, sizes: np.ndarray, frame: Box) -> bool:
    """Whether all labels lie within `frame` and none covers another."""
    boxes = [_box(*each) for each in zip(np.asarray(centres), np.asarray(sizes), strict=True)]
    return all(_inside(box, frame) for box in boxes) and not any(
        overlap(one, other) for one, other in combinations(boxes, 2)
    )


def _box(centre: np.ndarray, size: np.ndarray) -> Box:
    (x, y), (width, height) = centre, size
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _candidates(point: np.ndarray, size: np.ndarray) -> Iterator[tuple[float, np.ndarray, Box]]:
    for distance in DISTANCES:
        for angle in ANGLES:
            direction = np.array([np.cos(angle), np.sin(angle)])
            # The side or corner of the box that faces the point is at this distance.
            centre = point + distance * direction + np.round(direction, 0) * size / 2
            yield distance, centre, _box(centre, size)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes overlap."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(box: Box, frame: Box) -> bool:
    return frame[0] <= box[0] and box[2] <= frame[2] and frame[1] <= box[1] and box[3] <= frame[3]


def _crosses(line: tuple[tuple[float, float], tuple[float, float]], box: Box) -> bool:
    """Whether the line enters the box, by the clipping algorithm of Liang and Barsky."""
    (x, y), (to_x, to_y) = line
    enter, leave = 0.0, 1.0
    for step, low, high in ((to_x - x, box[0] - x, box[2] - x), (to_y - y, box[1] - y, box[3] - y)):
        if step == 0:
            if not low <= 0 <= high:
                return False
            continue
        near, far = sorted((low / step, high / step))
        enter, leave = max(enter, near), min(leave, far)
    return enter <= leave
