"""Batches are pure functions of seed and step, and an epoch visits every sample once."""

import numpy as np

from vlm4vla.training.components.samples import ShuffledIds


def test_an_epoch_visits_every_sample_once():
    ids = ShuffledIds(10, 4, seed=3)
    drawn = np.concatenate([ids.at(step) for step in range(5)])  # two epochs
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert list(drawn[:10]) != list(drawn[10:])


def test_the_order_of_calls_does_not_matter():
    forward, backward = ShuffledIds(7, 3, seed=5), ShuffledIds(7, 3, seed=5)
    first = [forward.at(step) for step in range(9)]
    again = [backward.at(step) for step in reversed(range(9))][::-1]
    np.testing.assert_array_equal(first, again)


def test_a_batch_may_exceed_the_data():
    drawn = ShuffledIds(3, 8, seed=0).at(2)
    assert len(drawn) == 8 and set(drawn) == {0, 1, 2}


def test_seeds_differ():
    assert list(ShuffledIds(50, 20, seed=0).at(0)) != list(ShuffledIds(50, 20, seed=1).at(0))
