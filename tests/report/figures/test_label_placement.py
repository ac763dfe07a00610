"""Labels never cover each other or a point, even if points are crowded."""

import itertools

import numpy as np
import pytest

from vlm4vla.report.figures.label_placement import CLEAR, overlap, place_labels


@pytest.mark.parametrize("seed", range(20))
def test_no_overlap(seed):
    rng = np.random.default_rng(seed)
    points = rng.normal((230, 210), 40, size=(12, 2))
    sizes = np.column_stack([rng.uniform(40, 80, 12), np.full(12, 12)])
    frame = (0, 0, 460, 420)
    centres = place_labels(points, sizes, frame)
    boxes = [(*(c - s / 2), *(c + s / 2)) for c, s in zip(centres, sizes, strict=True)]
    assert not any(overlap(*pair) for pair in itertools.combinations(boxes, 2))
    for x, y in points:
        dot = (x - CLEAR, y - CLEAR, x + CLEAR, y + CLEAR)
        assert not any(overlap(dot, box) for box in boxes)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 460 and box[3] <= 420 for box in boxes)


def test_a_label_without_a_free_position_stays_at_its_point():
    centres = place_labels(np.array([[5.0, 5.0]]), np.array([[40.0, 10.0]]), (0, 0, 10, 10))
    assert np.abs(centres - 5).max() < 30
