"""Augmentation of batches in memory against a direct per-pixel reference."""

import numpy as np
import pytest

from vlm4vla.training.batches.actions import colour_jitter, random_shift


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 10, 8, 3), dtype=np.uint8)


def test_shift_repeats_the_border(images):
    shifted = random_shift(images, 2, np.random.default_rng(1))
    moves = set()
    for before, after in zip(images, shifted, strict=True):
        found = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                rows = np.clip(np.arange(10) + down, 0, 9)
                columns = np.clip(np.arange(8) + right, 0, 7)
                if (before[np.ix_(rows, columns)] == after).all():
                    found.append((down, right))
        assert len(found) == 1
        moves.add(found[0])
    assert len(moves) > 5  # each image has its own shift


@pytest.mark.parametrize("shift", [(-2, 1), (0, 3), (-1, 0)])
def test_a_pair_gives_the_lowest_and_the_highest_move(shift):
    """A white pixel in the middle moves down and to the right by what the pair allows only."""
    images = np.zeros((400, 11, 11, 3), dtype=np.uint8)
    images[:, 5, 5] = 255
    rows, columns = random_shift(images, shift, np.random.default_rng(3))[..., 0].nonzero()[1:]
    allowed = list(range(shift[0], shift[1] + 1))
    assert sorted(set(rows - 5)) == allowed and sorted(set(columns - 5)) == allowed


def test_jitter_is_affine_per_channel_and_bounded(images):
    grey = (images // 4 + 90).astype(np.uint8)  # no value is clipped
    out = colour_jitter(grey, 0.2, np.random.default_rng(2))
    slopes = []
    for before, after in zip(grey, out, strict=True):
        for channel in range(3):
            x, y = before[..., channel].ravel().astype(float), after[..., channel].ravel().astype(float)
            slope, shift = np.polyfit(x, y, 1)
            assert np.abs(slope * x + shift - y).max() < 1  # rounding to whole levels
            slopes.append(slope)
    assert 0.8 * 0.8 * 0.9 - 0.02 < min(slopes) < 0.95 and 1.05 < max(slopes) < 1.2 * 1.2 * 1.1 + 0.02


def test_jitter_saturates_instead_of_wrapping():
    white = np.full((4, 4, 4, 3), 255, dtype=np.uint8)
    out = colour_jitter(white, 0.3, np.random.default_rng(0))
    assert out.min() > 120


def test_augmentation_can_be_off_and_is_repeatable(images):
    random = np.random.default_rng(0)
    assert random_shift(images, 0, random) is images and colour_jitter(images, 0.0, random) is images
    twice = [colour_jitter(images, 0.3, np.random.default_rng(4)) for _ in range(2)]
    np.testing.assert_array_equal(*twice)
