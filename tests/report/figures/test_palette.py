"""Colours of figures and masks under simulated colour blindness, after Viénot, Brettel and Mollon (1999)."""

import itertools

import drawn_figures
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from vlm4vla.report.figures import fast_injection, learning_curves, steps, style
from vlm4vla.report.figures.generated import class_colours
from vlm4vla.report.judged.stage import COLOURS

# Linear sRGB to the cones' responses (Smith and Pokorny), and a missing cone's response from the other two
CONES = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
MISSING = {
    "none": np.eye(3),
    "protanopia": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
    "deuteranopia": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
}
TO_XYZ = np.array(  # of sRGB, with the white of D65
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LEAST = 15  # difference of two colours in CIELAB (CIE 1976); 2.3 can just be seen


def lab(colour, vision):
    srgb = np.asarray(colour, float)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.linalg.solve(CONES, MISSING[vision] @ CONES @ linear).clip(0, 1)
    white = TO_XYZ.sum(1)
    ratio = TO_XYZ @ seen / white
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def least(colours, vision):
    seen = [lab(colour, vision) for colour in colours]
    return min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", MISSING)
@pytest.mark.parametrize("classes", [2, 7, 10])
def test_classes_of_masks_differ_for_colour_blind_readers(classes, vision):
    colours = class_colours(classes)
    assert colours.shape == (classes, 3) and colours.dtype == np.uint8
    assert least(colours / 255, vision) > LEAST


@pytest.mark.parametrize("vision", MISSING)
def test_more_classes_than_the_palette_keep_their_order(vision):
    light = [lab(colour / 255, vision)[0] for colour in class_colours(16)]
    assert (np.diff(light) > 1).all()  # from dark to light


@pytest.mark.parametrize("vision", MISSING)
@pytest.mark.parametrize(
    "colours",
    [
        style.PALETTE,
        style.SERIES,
        tuple(style.VARIANT_COLOURS.values()),
        (*fast_injection._COLOURS.values(), *fast_injection._OTHERS[:1]),
        learning_curves._COLOURS,
        steps.COLOURS,
        tuple(COLOURS.values()),
    ],
)
def test_colours_side_by_side_differ_for_colour_blind_readers(colours, vision):
    assert least(map(to_rgb, colours), vision) > LEAST


def test_the_simulation_finds_red_and_green():
    red, green = (to_rgb(name) for name in ("#C00000", "#707000"))
    assert least([red, green], "none") > 40
    assert least([red, green], "protanopia") < least([red, green], "none") / 1.5
    assert np.allclose(lab((1, 1, 1), "none"), (100, 0, 0), atol=0.01)
    # CIELAB of pure red is L 53.2, a 80.1, b 67.2.
    assert np.allclose(lab((1, 0, 0), "none"), (53.24, 80.09, 67.20), atol=0.05)


def test_masks_are_drawn_in_these_colours(tmp_path):
    figures = []
    with drawn_figures.saved(figures.append):
        drawn_figures.figures(2, 0.5, tmp_path)["generated"](tmp_path / "generated")
    (figure,) = figures
    scene = drawn_figures.scenes()[0]
    for axis, numbers in zip(figure.axes[4:6], (scene.classes, scene.generated_classes), strict=True):
        (image,) = axis.images
        np.testing.assert_array_equal(image.get_array(), class_colours(10)[numbers])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    patches = [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()]
    assert labels == drawn_figures.classes()
    np.testing.assert_allclose(patches, class_colours(10) / 255)
