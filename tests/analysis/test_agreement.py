import pytest

from vlm4vla.analysis.published_numbers import agreement


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (0.50, "within its interval"),
        (0.40, "within its interval"),  # the limits are included
        (0.60, "within its interval"),
        (0.39, "off"),
        (0.61, "off"),
    ],
)
def test_wide_interval(published, expected):
    assert agreement(0.5, (0.4, 0.6), published, maximum=1, scale="paper") == expected


@pytest.mark.parametrize(
    ("published", "expected"),
    [(4.0, "within its interval"), (4.2, "within five points"), (4.25, "within five points"), (4.26, "off")],
)
def test_five_points_are_a_quarter_of_an_instruction(published, expected):
    assert agreement(4.0, (3.95, 4.05), published, maximum=5, scale="paper") == expected


@pytest.mark.parametrize("scale", ["embedded", "smoke"])
def test_other_scales_are_not_compared(scale):
    assert agreement(0.5, (0.4, 0.6), 0.5, maximum=1, scale=scale) == f"not comparable ({scale})"


def test_without_a_number_there_is_no_verdict():
    assert agreement(None, (None, None), 0.5, maximum=1, scale="paper") is None
    assert agreement(0.5, (0.4, 0.6), None, maximum=1, scale="paper") is None
