"""OpenVLA's bins: an action and its bin's middle are at most half a bin apart."""

import numpy as np
import pytest
import torch

from vlm4vla.policies.heads.tokens import from_bins, to_bins


@pytest.mark.parametrize("bins", [2, 3, 256])
def test_decoding_inverts_encoding_to_half_a_bin(bins):
    actions = torch.cat([torch.linspace(-1, 1, 100_001), torch.tensor([-1.0, 0.0, 1.0])])
    numbers = to_bins(actions, bins)
    assert numbers.min() == 0
    assert numbers.max() == bins - 1
    assert (from_bins(numbers, bins) - actions).abs().max() <= 1 / bins + 1e-6


def test_every_bin_comes_back():
    numbers = torch.arange(256)
    assert torch.equal(to_bins(from_bins(numbers, 256), 256), numbers)


def test_bins_are_those_of_numpys_digitize():
    """OpenVLA digitises over equal edges; inside the range both say the same."""
    actions = np.random.default_rng(0).uniform(-1, 1, 10_000)
    edges = np.linspace(-1, 1, 257)
    expected = np.clip(np.digitize(actions, edges) - 1, 0, 255)
    assert np.array_equal(to_bins(torch.from_numpy(actions), 256).numpy(), expected)


def test_outside_counts_as_the_edge():
    assert to_bins(torch.tensor([-3.0, 3.0]), 256).tolist() == [0, 255]
