"""Where the names of a scatter plot's points may stand without covering one another or a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CLEAR = 4.0  # pixels around a point that stay free
REACHES = (7, 11, 16, 24, 34, 46, 60, 80, 105, 135, 170, 210)  # from a point to its name, in pixels
TURNS = np.linspace(0, 2 * np.pi, 24, endpoint=False) + np.pi / 4  # first to the upper right

Box = tuple[float, float, float, float]  # left, low, right, high


def place_labels(points: np.ndarray, sizes: np.ndarray, frame: Box, bars: Sequence[Box] = ()) -> np.ndarray:
    """Centres (n, 2) for labels of `sizes` (n, 2) at `points` (n, 2), within `frame`; all in pixels.

    Crowded points choose first, each the nearest place whose box is free and whose line to the point crosses
    no other name; a place over one of `bars` (intervals) only where nothing near is free. A label that finds
    no place stays at the upper right of its point.
    """
    points, sizes = np.asarray(points, dtype=float), np.asarray(sizes, dtype=float)
    dots = [(x - CLEAR, y - CLEAR, x + CLEAR, y + CLEAR) for x, y in points]
    near = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    crowd = (1 / (near + 20)).sum(axis=1)
    centres, taken = np.empty_like(points), []
    for index in np.argsort(-crowd, kind="stable"):
        best, least = None, np.inf
        for reach, centre, box in _candidates(points[index], sizes[index]):
            if not _inside(box, frame) or any(overlap(box, other) for other in (*dots, *taken)):
                continue
            line = (tuple(points[index]), tuple(centre))
            crossed = sum(_crosses(line, other) for other in taken)
            own = sum(_crosses(line, dot) for place, dot in enumerate(dots) if place != index)
            covered = sum(overlap(box, bar) for bar in bars)
            cost = reach + 60 * crossed + 20 * own + 14 * covered
            if cost < least:
                best, least = (centre, box), cost
        if best is None:
            centre = points[index] + (CLEAR + sizes[index][0] / 2, CLEAR + sizes[index][1] / 2)
            best = (centre, _box(centre, sizes[index]))
        centres[index] = best[0]
        taken.append(best[1])
    return centres


def _box(centre: np.ndarray, size: np.ndarray) -> Box:
    (x, y), (width, height) = centre, size
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _candidates(point: np.ndarray, size: np.ndarray) -> Iterator[tuple[float, np.ndarray, Box]]:
    for reach in REACHES:
        for turn in TURNS:
            way = np.array([np.cos(turn), np.sin(turn)])
            # the box touches the end of the way with the side or corner that faces the point
            centre = point + reach * way + np.round(way, 0) * size / 2
            yield reach, centre, _box(centre, size)


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(box: Box, frame: Box) -> bool:
    return frame[0] <= box[0] and box[2] <= frame[2] and frame[1] <= box[1] and box[3] <= frame[3]


def _crosses(line: tuple[tuple[float, float], tuple[float, float]], box: Box) -> bool:
    """Whether the line enters the box: Liang and Barsky's clipping."""
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
