"""Action chunks against a direct loop: padding repeats the last action and is masked."""

import numpy as np
import pytest

from vlm4vla.actions.chunks import chunks, indexed_chunks


def test_one_episode():
    found, mask = chunks(np.arange(4.0)[:, None], 3)
    assert found[..., 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 3], [3, 3, 3]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_episodes_do_not_mix(chunk):
    lengths = [3, 1, 6]
    episode = np.repeat([4, 7, 9], lengths)
    actions = np.random.default_rng(0).normal(size=(10, 7))
    found, mask = indexed_chunks(actions, episode, chunk)
    frame = 0
    for length in lengths:
        own = actions[frame : frame + length]
        for start in range(length):
            for step in range(chunk):
                inside = start + step < length
                assert mask[frame + start, step] == inside
                expected = own[min(start + step, length - 1)]
                np.testing.assert_array_equal(found[frame + start, step], expected)
        frame += length
