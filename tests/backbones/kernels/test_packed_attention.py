"""Attention over packed images equals separate attention for each image."""

import itertools

import pytest
import torch
from torch import nn

from vlm4vla.backbones.kernels.packed_attention import packed_attention


@pytest.mark.parametrize("lengths", [[4, 4, 4], [4, 2, 6]])
def test_images_attend_only_to_themselves(lengths):
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, sum(lengths), 8, generator=generator)
    ends = torch.tensor([0, *lengths]).cumsum(0)
    got, _ = packed_attention(
        nn.Identity(), query, key, value, None, scaling=0.3, cu_seq_lens_q=ends, max_length_q=max(lengths)
    )
    assert got.shape == (1, sum(lengths), 2, 8)
    for start, stop in itertools.pairwise(ends):
        scores = 0.3 * query[0, :, start:stop] @ key[0, :, start:stop].transpose(1, 2)
        expected = (scores.softmax(-1) @ value[0, :, start:stop]).transpose(0, 1)
        assert torch.allclose(got[0, start:stop], expected, rtol=0, atol=1e-5)
