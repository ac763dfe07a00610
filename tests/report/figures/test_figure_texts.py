"""Texts of every figure: none is cut off, none covers another; zeros are drawn; titles are words."""

import re
from pathlib import Path

import drawn_figures
import matplotlib.image
import numpy as np
import pytest
from matplotlib.path import Path as Outline
from matplotlib.text import Text

from vlm4vla.report.figures import style

NAMES = list(drawn_figures.figures(2, 0.5, Path("unused")))
SLACK = 1.0  # pixels at 150 dots per inch


def box(text, renderer):
    """The corners of a text where it is drawn: its unrotated box, turned as Matplotlib turns it."""
    turned = text.get_rotation()
    outer = Text.get_window_extent(text, renderer)  # of an annotation, without its arrow
    if not turned:
        (left, low), (right, high) = outer.min, outer.max
        return np.array([[left, low], [right, low], [right, high], [left, high]])
    text.set_rotation(0)
    flat = Text.get_window_extent(text, renderer)
    text.set_rotation(turned)
    angle = complex(np.cos(np.deg2rad(turned)), np.sin(np.deg2rad(turned)))
    middle = complex((outer.x0 + outer.x1) / 2, (outer.y0 + outer.y1) / 2)
    half = [complex(x * flat.width / 2, y * flat.height / 2) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return np.array([[(middle + angle * corner).real, (middle + angle * corner).imag] for corner in half])


def near(boxes):
    """The pairs of quadrilaterals whose upright bounding boxes touch: no others can cover each other."""
    low, high = np.array(boxes).min(1), np.array(boxes).max(1)
    touch = (low[:, None] <= high[None]).all(2)
    return np.argwhere(np.triu(touch & touch.T, 1)).tolist()


def covered(one, other):
    """Whether a point of a grid over the first quadrilateral lies within the other, away from its edge."""
    across, up = np.meshgrid(np.linspace(0.02, 0.98, 60), np.linspace(0.08, 0.92, 15))
    points = one[0] + across[..., None] * (one[1] - one[0]) + up[..., None] * (one[3] - one[0])
    middle = other.mean(0)
    inner = middle + (other - middle) * (1 - 2 * SLACK / np.ptp(other, axis=0).max())
    return bool(Outline(inner).contains_points(points.reshape(-1, 2)).any())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """By figure, backbones and level: the drawn texts, (words, corners), and the figure's size in pixels."""
    found = {}

    def make(name, backbones, level):
        key = (name, backbones, level)
        if key not in found:
            folder = tmp_path_factory.mktemp("figures")
            sizes, boxes, write = [], {}, Text.draw

            def look(figure):
                sizes.append(figure.get_size_inches() * 150)

            def record(text, renderer, *others, **options):
                write(text, renderer, *others, **options)
                if text.get_visible() and text.get_text().strip() and getattr(renderer, "dpi", 0) == 150:
                    boxes[id(text)] = (text.get_text(), box(text, renderer))

            with pytest.MonkeyPatch.context() as patch, drawn_figures.saved(look):
                patch.setattr(Text, "draw", record)
                patch.delitem(style._METADATA, "pdf")  # half of the time
                patch.setattr(matplotlib.image, "imsave", lambda file, *_, **_options: Path(file).touch())
                drawn_figures.figures(backbones, level, folder)[name](folder / name)
            (size,) = sizes
            found[key] = list(boxes.values()), size
        return found[key]

    return make


# The fewest backbones, points that all lie at 0, and the most crowded panels.
@pytest.mark.parametrize(
    ("backbones", "level"),
    [
        pytest.param(2, 0.4, marks=pytest.mark.exhaustive),
        (9, 0.0),
        pytest.param(20, 0.4, marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_no_text_is_cut_off_or_covers_another(drawn, name, backbones, level):
    texts, (width, height) = drawn(name, backbones, level)
    assert texts
    for words, corners in texts:
        inside = (corners >= -SLACK).all() and (corners <= (width + SLACK, height + SLACK)).all()
        assert inside, f"{words!r} is cut off: {corners.tolist()} in {width} x {height}"
    both = [
        (texts[one][0], texts[other][0])
        for one, other in near([corners for _, corners in texts])
        if covered(texts[one][1], texts[other][1]) or covered(texts[other][1], texts[one][1])
    ]
    assert not both


@pytest.mark.parametrize("name", NAMES)
def test_no_key_is_a_text(drawn, name):
    words = [text for text, _ in drawn(name, 9, 0.0)[0]]
    assert not [text for text in words if re.search(r"[a-z0-9]_[a-z0-9]|\.(png|pdf|json)\b", text)]


def test_the_check_finds_a_cut_and_a_covered_text():
    one = np.array([[0, 0], [100, 0], [100, 10], [0, 10.0]])
    assert near([one, one + (300, 0), one + (50, 5), one + (0, 30)]) == [[0, 2]]
    assert covered(one, one + (50, 5)) and not covered(one, one + (0, 10))
    turned = np.array([[0, 0], [70.7, 70.7], [63.6, 77.8], [-7.1, 7.1]])
    assert not covered(turned, turned + (20, 0)) and covered(turned, turned + (5, 0))


@pytest.mark.parametrize("name", ["freeze", "fast_injection"])
def test_bars_of_zeros_are_seen_and_labelled(name, tmp_path):
    figures = []
    with drawn_figures.saved(figures.append):
        drawn_figures.figures(2, 0.0, tmp_path)[name](tmp_path / name)
    (figure,) = figures
    zeros = 0
    for axis in figure.axes:
        bars = [patch.get_window_extent() for patch in axis.patches]
        zeros += len(bars)
        assert bars and all(bar.width >= 2 and bar.height >= 5 for bar in bars)  # pixels
        assert sum(text.get_text() == "0" for text in axis.texts) == len(bars)
    gaps = sum(text.get_text() == "not measured" for axis in figure.axes for text in axis.texts)
    models, benchmarks = 2, 3 if name == "freeze" else 2
    assert zeros + gaps == models * benchmarks * (3 if name == "freeze" else 6)


@pytest.mark.parametrize(("name", "reference"), [("freeze", "'all trained'"), ("fast_injection", "the bar")])
def test_a_star_means_the_same_in_every_figure(drawn, name, reference):
    words = [text for text, _ in drawn(name, 20, 0.4)[0]]
    (star,) = [text for text in words if text.startswith("differs from")]
    assert star.startswith(f"differs from {reference}") and star.endswith(style.TESTED)
    assert style.PUBLISHED["label"] in words
    assert not [text for text in words if "*" in text]
