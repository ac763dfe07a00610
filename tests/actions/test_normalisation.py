"""Scaling of actions to [-1, 1] and back, bounds from statistics, and the gripper's polarity."""

import json

import numpy as np
import pytest

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.core.errors import UserError


def stats(low, high):
    low, high = [*low, -1.0], [*high, 1.0]
    wider = {"min": [value - 1 for value in low], "max": [value + 1 for value in high]}
    return {"action": wider | {"q01": low, "q99": high}}


LOW = [-0.1, -2.0, 0.0, 0.3, -1.0, -0.5]
HIGH = [0.1, 4.0, 0.2, 0.3, 1.0, 0.25]  # the fourth dimension never moves


@pytest.fixture
def quantile():
    return Statistics.from_stats(stats(LOW, HIGH), "quantile", "calvin")


def test_bounds_map_to_one_and_values_outside_are_clipped(quantile):
    actions = np.array([[*LOW, -1.0], [*HIGH, 1.0], [value + 9 for value in HIGH] + [1.0]], dtype=np.float32)
    pose, _ = quantile.normalise(actions)
    np.testing.assert_allclose(
        pose, [[-1, -1, -1, 0, -1, -1], [1, 1, 1, 0, 1, 1], [1, 1, 1, 0, 1, 1]], atol=1e-5
    )


def test_round_trip(quantile):
    random = np.random.default_rng(0)
    actions = random.uniform(LOW, HIGH, size=(5, 4, 6)).astype(np.float32)
    actions = np.concatenate([actions, random.choice([-1.0, 1.0], size=(5, 4, 1))], axis=-1).astype(
        np.float32
    )
    pose, gripper = quantile.normalise(actions)
    assert gripper.shape == (5, 4) and np.abs(pose).max() <= 1
    logits = np.where(gripper > 0.5, 2.0, -2.0)
    for shape in (logits, logits[..., None]):
        back = quantile.denormalise(pose, shape)
        assert back.dtype == np.float32
        np.testing.assert_allclose(back, actions, atol=1e-5)


@pytest.mark.parametrize("second", [(-0.65, 0.65), (-0.5, 1.0)])
def test_second_bounds_clip_and_scale_again(second):
    """By hand: q01 to -1 and q99 to 1, clipped to the second bounds, these to -1 and 1."""
    statistics = Statistics.from_stats(stats(LOW, HIGH), "quantile", "calvin", second)
    low, high = second
    fractions = np.linspace(-1.2, 1.2, 25)
    moving = [0, 1, 2, 4, 5]
    centre, half = (np.add(HIGH, LOW) / 2, np.subtract(HIGH, LOW) / 2)
    actions = np.zeros((25, 7), dtype=np.float32)
    actions[:, :6] = centre + fractions[:, None] * half
    pose, _ = statistics.normalise(actions)
    expected = [(np.clip(f, low, high) - low) / (high - low) * 2 - 1 for f in fractions]
    np.testing.assert_allclose(pose[:, moving], np.tile(expected, (5, 1)).T, atol=1e-5)
    assert pose.min() == -1 and pose.max() == 1
    # Undone in the opposite order: only motions within the second bounds can be executed.
    back = statistics.denormalise(pose, np.ones(25))[:, :6]
    reached = centre + np.clip(fractions, low, high)[:, None] * half
    np.testing.assert_allclose(back, np.where(half > 0, reached, centre), atol=1e-5)
    again = Statistics.from_json(json.loads(json.dumps(statistics.to_json())))
    np.testing.assert_array_equal(again.normalise(actions)[0], pose)


def test_without_second_bounds_the_record_has_no_such_key(quantile):
    assert "second" not in quantile.to_json()
    assert Statistics.from_json(quantile.to_json()).second is None


def test_range_uses_minimum_and_maximum():
    found = Statistics.from_stats(stats(LOW, HIGH), "range", "calvin")
    np.testing.assert_allclose(found.low, np.array(LOW) - 1, rtol=1e-6)
    np.testing.assert_allclose(found.high, np.array(HIGH) + 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("benchmark", "low", "high"), [("calvin", -1, 1), ("bridge", 0, 1), ("libero-10", -1, 1)]
)
def test_the_gripper_has_the_benchmarks_values(benchmark, low, high):
    statistics = Statistics.from_stats(stats(LOW, HIGH), "quantile", benchmark)
    actions = np.zeros((2, 7), dtype=np.float32)
    actions[:, 6] = [low, high]
    assert statistics.normalise(actions)[1].tolist() == [0, 1]
    assert statistics.denormalise(np.zeros((2, 6)), np.array([-0.1, 0.1]))[:, 6].tolist() == [low, high]


def test_opening_is_the_larger_value_except_in_libero():
    opened = {name: Statistics.from_stats(stats(LOW, HIGH), "range", name).gripper.open for name in
              ("calvin", "bridge", "libero-10")}  # fmt: skip
    assert opened == {"calvin": 1.0, "bridge": 1.0, "libero-10": -1.0}


def test_json_round_trip(quantile):
    again = Statistics.from_json(quantile.to_json())
    np.testing.assert_array_equal(again.low, quantile.low)
    np.testing.assert_array_equal(again.high, quantile.high)
    assert (again.kind, again.benchmark) == ("quantile", "calvin")


def test_errors_name_the_key(quantile):
    broken = stats(LOW, HIGH)
    broken["action"]["q01"] = [0.0] * 6
    with pytest.raises(UserError, match=r"action\.q01 must be 7 finite numbers"):
        Statistics.from_stats(broken, "quantile", "calvin")
    with pytest.raises(UserError, match=r"action\.min"):
        Statistics.from_stats({}, "range", "calvin")
    with pytest.raises(UserError, match="unknown kind"):
        Statistics.from_stats(stats(LOW, HIGH), "rnge", "calvin")
