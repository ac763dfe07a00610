"""Points in answers, as words and as decimals."""

from __future__ import annotations

import pytest

from vlm4vla.auxiliary.points import (
    decimal_points_error,
    point_words_score,
    read_decimal_points,
    write_point_words,
)
from vlm4vla.core.errors import UserError


def test_writing_a_point_outside_the_image_raises():
    with pytest.raises(UserError, match=r"point \(1\.200, 0\.500\) is outside the image"):
        write_point_words([(0.1, 0.1), (1.2, 0.5)])


def test_score_of_point_words():
    truth = write_point_words([(0.1, 0.1), (0.6, 0.6)])
    assert point_words_score(truth, truth) == 1
    assert point_words_score(write_point_words([(0.1, 0.1)]), truth) == pytest.approx(2 / 3)
    assert point_words_score(write_point_words([(0.1, 0.1), (0.12, 0.1)]), truth) == pytest.approx(1 / 2)
    assert point_words_score("a block", truth) == 0
    assert point_words_score("", "") == 1


def test_decimal_points_and_boxes():
    assert read_decimal_points("[(0.1, .2), (1, 0)]") == [(0.1, 0.2), (1.0, 0.0)]
    assert read_decimal_points("[(0.1, 0.2, 0.4, 0.2)]") == [(pytest.approx(0.3), pytest.approx(0.3))]
    assert decimal_points_error("[(0.1, 0.2), (1.0, 0.0)]") is None
    assert "point (1.2, 0.5) is outside the image" in decimal_points_error("[(0.1, 0.1), (1.2, 0.5)]")
    assert "point (0.9, 0.4)" not in decimal_points_error("[(0.9, 0.1, 0.3, 0.3)]")
    assert "(1.2, 0.4) is outside" in decimal_points_error("[(0.9, 0.1, 0.3, 0.3)]")
    assert decimal_points_error("it is at (5, 7) of the map") is None  # a sentence, not a list of points
