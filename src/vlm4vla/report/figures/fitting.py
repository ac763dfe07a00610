"""Titles and axis labels that have no room in one line are set in several."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

ROUNDS = 4  # a title of more lines moves the panels, which changes the room of the others
LINE = 0.17  # inches by which the figure becomes taller for each line of a title
GAP = 6.0  # pixels between two titles


def fit(figure: Figure) -> None:
    """Wrap the titles and axis labels of all panels, and the titles of subfigures, to the room they have."""
    whole: dict[Text, str] = {}
    for _ in range(ROUNDS):
        figure.draw_without_rendering()
        found = [each for each in _sizes(figure) if each[1] > each[2]]
        whole = {text: text.get_text() for text, *_ in found} | whole
        changes = [_wrap(text, whole[text], room / size) for text, size, room in found]
        if not any(changed for changed, _ in changes):
            return
        figure.set_figheight(figure.get_figheight() + LINE * max(lines for _, lines in changes))


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """The pairs of texts of the figure that cover each other; drawing must have placed them before."""
    shown = [text for text in figure.findobj(Text) if _is_shown(text)]
    corners = [_corners(text) for text in shown]
    return [
        (shown[one].get_text(), shown[other].get_text())
        for one in range(len(shown))
        for other in range(one)
        if _meet(corners[one], corners[other])
    ]


def _is_shown(text: Text) -> bool:
    axis = text.axes
    return text.get_visible() and bool(text.get_text().strip()) and (axis is None or axis.get_visible())


def _corners(text: Text) -> np.ndarray:
    """The corners (4, 2) of the text's box in pixels, which is turned with the text."""
    turned = text.get_rotation()
    if not turned:
        box = text.get_window_extent()
        return np.array([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)])
    outer = text.get_window_extent()
    text.set_rotation(0)
    flat = text.get_window_extent()
    text.set_rotation(turned)
    angle = np.deg2rad(turned)
    half = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (flat.width / 2, flat.height / 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return half @ turn + ((outer.x0 + outer.x1) / 2, (outer.y0 + outer.y1) / 2)


def _meet(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two rectangles overlap: no side of either separates them."""
    for corners in (one, other):
        for side in (corners[1] - corners[0], corners[2] - corners[1]):
            first, second = one @ side, other @ side
            if first.max() <= second.min() or second.max() <= first.min():
                return False
    return True


def _sizes(figure: Figure) -> Iterator[tuple[Text, float, float]]:
    """Each title and axis label with its length and its room, both in pixels."""
    panels = [axis for axis in figure.axes if axis.get_visible()]
    width = figure.bbox.width
    boxes = {axis: axis.get_window_extent() for axis in panels}
    for axis, box in boxes.items():
        around = [each for each in boxes.items() if _side_by_side(box, each[1])]
        middle = (box.x0 + box.x1) / 2
        right = min([width, *(other.x0 for _, other in around if other.x0 > box.x0)]) - GAP
        for text, others in (
            (axis.title, [(other, found.title) for found, other in around]),
            (axis.xaxis.label, [(other, found.xaxis.label) for found, other in around]),
        ):
            # A centred text may reach half the way to the middle of a panel that has one, too.
            half = [
                abs(middle - (other.x0 + other.x1) / 2) / 2
                if beside.get_text()
                else min(abs(middle - other.x0), abs(middle - other.x1))
                for other, beside in others
            ]
            if text.get_text():
                yield text, text.get_window_extent().width, 2 * min(middle, width - middle, *half) - GAP
        if axis._left_title.get_text():
            yield axis._left_title, axis._left_title.get_window_extent().width, right - box.x0
        if axis.yaxis.label.get_text():
            above = min([*(other.y0 for other in boxes.values() if other.y0 > box.y1), figure.bbox.height])
            below = max([*(other.y1 for other in boxes.values() if other.y1 < box.y0), 0.0])
            center = (box.y0 + box.y1) / 2
            room = 2 * min((above + box.y1) / 2 - center, center - (below + box.y0) / 2) - GAP
            yield axis.yaxis.label, axis.yaxis.label.get_window_extent().height, room
    for part in (figure, *figure.subfigs):
        if part._suptitle is not None:
            title = part._suptitle.get_window_extent()
            yield part._suptitle, title.width, width - GAP - (title.x0 if part is not figure else 0)


def _side_by_side(box: Any, other: Any) -> bool:
    """Whether another panel stands beside this one, not above or under it. A twin has the same place."""
    apart = abs(other.x0 - box.x0) > 1
    return apart and other.y0 < box.y1 and box.y0 < other.y1


def _wrap(text: Text, whole: str, share: float) -> tuple[bool, int]:
    """Set the text, `whole` before it was wrapped, in lines of `share` of its present longest one.

    Returns whether that changes it, and by how many lines the text across the figure grows.
    """
    before = text.get_text().split("\n")
    width = max(6, int(max(map(len, before)) * share))
    lines = [part for line in whole.split("\n") for part in textwrap.wrap(line, width)]
    text.set_text("\n".join(lines))
    return lines != before, 0 if text.get_rotation() else len(lines) - len(before)
