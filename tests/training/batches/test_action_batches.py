"""The plan's targets: the gripper's future points, never a point of another episode."""

import numpy as np

from vlm4vla.training.batches.actions import future_points


def test_future_points_stay_in_their_episode():
    points = np.arange(14, dtype=float).reshape(7, 2)
    episode = np.array([0, 0, 0, 0, 1, 1, 1])
    found = future_points(points, episode, [1, 3])
    expected = [[1, 3], [2, 3], [3, 3], [3, 3], [5, 6], [6, 6], [6, 6]]  # frames
    np.testing.assert_array_equal(found, points[np.array(expected)])
    assert found.shape == (7, 2, 2) and found.dtype == np.float32
