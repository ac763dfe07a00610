"""Conversions between a policy and its simulator, compared with the documentation of the simulators."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from simulator_examples import protocol

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.evaluation.simulators.conversions import (
    ActionConverter,
    GripperRule,
    euler_to_rotation_vector,
    fit_image,
    quaternion_to_axis_angle,
    rotate_180,
    wxyz_to_xyzw,
    xyzw_to_wxyz,
)
from vlm4vla.evaluation.simulators.episodes import benchmark_entries

# The command at which the gripper opens, as each simulator documents it.
OPENS_AT = {"libero-10": -1, "calvin": 1, "bridge": 1, "metaworld": -1}


def converter(benchmark):
    return ActionConverter(benchmark, protocol(benchmark).simulator)


@pytest.mark.parametrize("benchmark", OPENS_AT)
def test_gripper_polarity(benchmark):
    own = gripper(benchmark)
    sent = converter(benchmark)(np.array([[0, 0, 0, 0, 0, 0, own.open], [0, 0, 0, 0, 0, 0, own.close]]))
    assert sent[:, 6].tolist() == [OPENS_AT[benchmark], -OPENS_AT[benchmark]]


def test_calvin_actions_are_fiftieths_of_a_metre_and_twentieths_of_a_radian():
    # The dataset's page: relative actions are multiplied by 50 and by 20, and clipped to [-1, 1].
    metres, radians = np.array([0.02, -0.01, 0.004]), np.array([0.05, 0.0, -0.025])
    policy = np.array([*(metres * 50), *(radians * 20), 1.0])
    np.testing.assert_allclose(converter("calvin")(policy)[:6], [*metres, *radians], atol=1e-7)


@pytest.mark.parametrize("benchmark", ["libero-10", "metaworld"])
def test_actions_are_sent_unchanged(benchmark):
    action = np.array([0.5, -1, 0.25, 0.1, -0.2, 0.3, 1.0])
    np.testing.assert_allclose(converter(benchmark)(action), action, atol=1e-7)


def test_bridge_rotations_become_rotation_vectors():
    euler = np.random.default_rng(0).uniform(-1.2, 1.2, (50, 3))
    wanted = Rotation.from_euler("xyz", euler).as_rotvec()
    actions = np.concatenate([np.zeros((50, 3)), euler, np.zeros((50, 1))], axis=1)
    np.testing.assert_allclose(converter("bridge")(actions)[:, 3:6], wanted, atol=1e-6)
    assert np.abs(wanted - euler).max() > 0.1  # Euler angles and rotation vectors differ


@pytest.mark.parametrize("size", [6, 8])
def test_an_action_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="7 numbers"):
        converter("libero-10")(np.zeros((2, size)))


def test_an_action_with_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        converter("libero-10")(np.full(7, np.nan))


# The gripper rule of Bridge -----------------------------------------------------------------------


def sent_commands(rule, *chunks):
    actions = [np.array([[0.0] * 6 + [value] for value in chunk]) for chunk in chunks]
    return [int(value) for chunk in actions for value in rule("one", chunk)[:, 6]]


def test_predictions_are_counted_across_chunks_and_reset_with_an_episode():
    rule = GripperRule("two-in-a-row")
    assert sent_commands(rule, [1, 1, -1, 1], [1, 1, -1, -1]) == [-1, 1, -1, -1, 1, 1, -1, -1]
    assert sent_commands(rule, [1]) == [-1]
    rule.reset("one")
    assert sent_commands(rule, [1], [1]) == [-1, 1]


def test_sessions_do_not_share_predictions():
    rule = GripperRule("two-in-a-row")
    chunk = np.array([[0.0] * 6 + [1]])
    rule("one", chunk)
    assert rule("other", chunk)[0, 6] == -1
    assert rule("one", chunk)[0, 6] == 1


def test_the_sign_rule_changes_nothing():
    assert sent_commands(GripperRule("sign"), [1, -1, 1]) == [1, -1, 1]


# Rotations of states ------------------------------------------------------------------------------


def test_quaternion_order():
    first = np.array([[0.5, 0.1, 0.2, 0.3]])
    np.testing.assert_array_equal(wxyz_to_xyzw(first), [[0.1, 0.2, 0.3, 0.5]])
    np.testing.assert_array_equal(xyzw_to_wxyz(wxyz_to_xyzw(first)), first)


def test_axis_angles_of_both_signs():
    quaternions = Rotation.random(40, random_state=np.random.RandomState(3)).as_quat()  # x, y, z, w
    shortest = Rotation.from_quat(quaternions).as_rotvec()
    for sign in (1, -1):
        found = quaternion_to_axis_angle(sign * quaternions, shortest=True)
        np.testing.assert_allclose(found, shortest, atol=1e-6)
    positive = quaternions * np.sign(quaternions[:, 3:])
    np.testing.assert_allclose(quaternion_to_axis_angle(positive, shortest=False), shortest, atol=1e-6)
    # -q is the same rotation the long way round: 2 pi minus the angle of q, about the reversed axis.
    angle = np.linalg.norm(shortest, axis=1, keepdims=True)
    long_way = -shortest / angle * (2 * np.pi - angle)
    np.testing.assert_allclose(quaternion_to_axis_angle(-positive, shortest=False), long_way, atol=1e-6)


def test_no_rotation_is_zero():
    identity = np.array([0, 0, 0, 1.0])
    np.testing.assert_array_equal(quaternion_to_axis_angle(identity, shortest=False), np.zeros(3))
    np.testing.assert_array_equal(euler_to_rotation_vector(np.zeros(3)), np.zeros(3))


# Un-normalisation ---------------------------------------------------------------------------------


def test_range_and_quantile_give_different_actions():
    rows = np.linspace(-1, 1, 7)
    stats = {"action": {"min": [-4.0] * 7, "max": [4.0] * 7, "q01": [-0.5] * 7, "q99": [0.5] * 7}}
    pose, gripper = np.tile(rows[:, None], 6), np.ones(7)
    ranges, quantiles = (
        Statistics.from_stats(stats, kind, "libero-10").denormalise(pose, gripper)
        for kind in ("range", "quantile")
    )
    np.testing.assert_allclose(ranges[:, :6], 8 * quantiles[:, :6], atol=1e-6)


# Images -------------------------------------------------------------------------------------------


def test_images_of_robosuite_are_rotated_by_180_degrees():
    rendered = np.zeros((4, 6, 3), dtype=np.uint8)
    rendered[0, 0] = 255  # the lower right corner of the scene
    turned = rotate_180(rendered)
    assert turned[3, 5].tolist() == [255] * 3 and turned.sum() == 3 * 255
    np.testing.assert_array_equal(turned, np.rot90(rendered, 2))


def test_images_are_resized_for_the_policy():
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    image[:, 100:] = 200
    small = fit_image(image, 64)
    assert small.shape == (64, 64, 3) and small[:, :30].max() == 0 and small[:, 34:].min() == 200
    assert fit_image(small, 64) is small
    with pytest.raises(ValueError, match="uint8"):
        fit_image(image.astype(np.float32), 64)


# Parameters of the adapters -----------------------------------------------------------------------


def test_success_semantics_and_steps_of_simplerenv():
    made = benchmark_entries(protocol("bridge"))
    assert [entry.max_steps for entry in made] == [60, 60, 60, 120]
    assert {entry.params["success_mode"] for entry in made} == {"truncation"}
    anywhere = benchmark_entries(protocol("bridge", {"success": "any-step"}))
    assert {entry.params["success_mode"] for entry in anywhere} == {"early_stop"}
    assert made[3].params["task_name"] == "widowx_put_eggplant_in_basket"
    assert made[3].params["max_episode_steps"] == 120


def test_a_chain_has_five_times_the_steps_of_an_instruction():
    (entry,) = benchmark_entries(protocol("calvin"))
    assert entry.params["ep_len"] == entry.steps == 360 and entry.max_steps == 1800
    assert entry.params["num_sequences"] == 1000


def test_idle_steps_seeds_and_steps_of_libero():
    (entry,) = benchmark_entries(protocol("libero-10", {"environment_seed": 3}), look_every=2)
    assert entry.params["num_steps_wait"] == 10 and entry.max_steps == 520
    assert entry.params["seed"] == 7 and entry.params["env_seed"] == 3
    assert entry.params["look_every"] == 2  # steps executed of a chunk
    assert "interleaved" not in entry.params


def test_idle_steps_between_actions():
    """The five idle steps count as none of the policy's 525."""
    changes = {"idle_steps": 5, "idle_order": "interleaved"}
    (entry,) = benchmark_entries(protocol("libero-10", changes))
    assert entry.params["num_steps_wait"] == 5 and entry.params["interleaved"] is True
