"""What a head that plans learns: the gripper's later points, never another episode's."""

import numpy as np

from vlm4vla.training.batches.actions import points_ahead


def test_points_ahead_stay_in_their_episode():
    points = np.arange(14, dtype=float).reshape(7, 2)
    episode = np.array([0, 0, 0, 0, 1, 1, 1])
    found = points_ahead(points, episode, [1, 3])
    expected = [[1, 3], [2, 3], [3, 3], [3, 3], [5, 6], [6, 6], [6, 6]]  # frames
    np.testing.assert_array_equal(found, points[np.array(expected)])
    assert found.shape == (7, 2, 2) and found.dtype == np.float32
