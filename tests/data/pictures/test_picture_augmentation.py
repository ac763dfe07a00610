"""Augmentation of one image, compared with colorsys and Pillow."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image

from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.data.pictures.augmentation import augmented, recoloured, shifted


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 52, 3), dtype=np.uint8)


def smooth(side=60):
    """An image in which each position has a different colour."""
    rows, columns = np.mgrid[0:side, 0:side] / (side - 1)
    return np.rint(np.stack([rows, columns, 1 - rows], -1) * 255).astype(np.uint8)


def test_without_settings_an_image_is_only_resized(picture):
    found = augmented(picture, 16, 0, None, np.random.default_rng(0))
    expected = Image.fromarray(picture).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize(
    ("saturation", "turn"), [(1.0, 0.05), (1.0, -0.3), (0.8, 0.0), (1.7, 0.0), (1.3, 0.2)]
)
def test_colours_change_as_in_colorsys(saturation, turn):
    random = np.random.default_rng(1)
    values = random.uniform(size=(5, 40, 3)).astype(np.float32)
    values[0, :6] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    found = recoloured(values, saturation, turn)
    for one, two in zip(values.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        hue, strength, value = colorsys.rgb_to_hsv(*map(float, one))
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, min(strength * saturation, 1), value)
        np.testing.assert_allclose(two, expected, atol=2e-6)


def test_brightness_is_added_and_contrast_keeps_the_mean():
    flat = np.full((8, 8, 3), 100, dtype=np.uint8)
    levels = set()
    for seed in range(40):
        found = augmented(flat, 8, 0, Augmentation(brightness=0.2), np.random.default_rng(seed))
        assert len(np.unique(found)) == 1
        levels.add(int(found[0, 0, 0]))
    assert 100 - 51 <= min(levels) < 75 and 125 < max(levels) <= 100 + 51
    halves = np.full((8, 8, 3), 100, dtype=np.uint8)
    halves[:, 4:] = 140
    for seed in range(10):
        found = augmented(halves, 8, 0, Augmentation(contrast=0.2), np.random.default_rng(seed)).astype(int)
        assert abs(found.mean() - 120) < 1 and 40 * 0.8 - 1 <= found.max() - found.min() <= 40 * 1.2 + 1


def test_a_window_shows_its_share_of_the_area():
    """In an image that is a linear gradient, the range of values equals the side of the window."""
    spans, corners = [], set()
    for seed in range(30):
        found = augmented(smooth(), 60, 0, Augmentation(crop=0.81), np.random.default_rng(seed)).astype(float)
        spans += [np.ptp(found[..., 0]) / 255, np.ptp(found[..., 1]) / 255]
        corners.add((found[0, 0, 0], found[0, 0, 1]))
    assert np.abs(np.array(spans) - 0.9).max() < 0.03
    assert len(corners) > 25


def test_a_shift_is_a_clamped_move(picture):
    square = picture[:40, :40]
    padded = np.pad(square, ((2, 2), (2, 2), (0, 0)), "edge")
    moves = set()
    for seed in range(30):
        found = augmented(square, 40, 2, None, np.random.default_rng(seed))
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if (padded[2 - down : 42 - down, 2 - right : 42 - right] == found).all()
        ]
        assert len(fits) == 1
        moves.update(fits)
    assert len(moves) > 12
    np.testing.assert_array_equal(shifted(square, 1, 0)[1:], square[:-1])


def test_a_pair_of_shifts_samples_as_the_released_code(picture):
    """torch's grid_sample, as the released code calls it: the window moves by -2 to 3 pixels of the padding.

    So the image moves by -3 to 2 pixels, down and to the right.
    """
    square, pad = np.ascontiguousarray(picture[:40, :40]), 3
    image = torch.from_numpy(square.astype(np.float32)).permute(2, 0, 1)[None]
    padded = torch.nn.functional.pad(image, (pad,) * 4, mode="replicate")
    side = 40 + 2 * pad
    centres = (torch.arange(40) * 2 + 1) / side - 1
    expected = {}
    for across in range(1, 2 * pad + 1):
        for along in range(1, 2 * pad + 1):
            grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
            grid = grid + torch.tensor([along, across]) * 2.0 / side
            found = torch.nn.functional.grid_sample(padded, grid[None], align_corners=False)
            moved = found[0].permute(1, 2, 0).round().numpy().astype(np.uint8)
            expected[pad - across, pad - along] = moved
    seen = set()
    for seed in range(150):
        found = augmented(square, 40, (-3, 2), None, np.random.default_rng(seed))
        fits = [move for move, each in expected.items() if np.array_equal(each, found)]
        assert len(fits) == 1
        seen.update(fits)
    assert {down for down, _ in seen} == {right for _, right in seen} == {-3, -2, -1, 0, 1, 2}


def test_the_same_random_state_gives_the_same_image(picture):
    everything = Augmentation(crop=0.9, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05)
    one, two, other = (augmented(picture, 24, 3, everything, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any() and one.dtype == np.uint8 and one.shape == (24, 24, 3)
