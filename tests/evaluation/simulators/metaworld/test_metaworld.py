"""The real MetaWorld: actions, images and success, against the package itself."""

import json
import os
import pickle
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP
from metaworld.types import Task
from served_processes import recorded_steps

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.data.lerobot.reader import read_demonstrations

CAMERA = "corner4"
SIZE = 128
BUTTON, DRAWER, FAUCET_OPEN, FAUCET_CLOSE, HAMMER = 0, 1, 5, 6, 8
STILL = [0.0] * 6 + [-1.0]


def start(simulator, task, state=0):
    described = {**simulator.get_tasks()[task], "episode_idx": state}
    return described, simulator.reset(described)


def test_the_gripper_closes_at_plus_one(simulator):
    widths = {}
    for command in (-1.0, 1.0):
        start(simulator, DRAWER)
        for _ in range(40):
            simulator.step({"actions": [0.0] * 6 + [command]})
        left, right = (simulator._env.data.body(name).xpos for name in ("leftclaw", "rightclaw"))
        widths[command] = np.linalg.norm(left - right)
    assert widths[-1.0] > 0.09 and widths[1.0] < 0.05  # metres between the fingers


@pytest.mark.parametrize("axis", range(3))
def test_an_action_of_one_moves_the_hand_by_a_centimetre_along_its_axis(simulator, axis):
    start(simulator, DRAWER)
    hand = simulator._env.data.body("hand")
    begin, action = hand.xpos.copy(), np.array(STILL)
    action[axis] = 1
    for _ in range(6):
        simulator.step({"actions": action})
    for _ in range(60):
        simulator.step({"actions": STILL})
    moved = hand.xpos - begin
    assert moved[axis] == pytest.approx(0.06, abs=0.005)
    assert np.abs(np.delete(moved, axis)).max() < 0.005


def test_a_motion_above_one_is_clipped_and_the_rotation_is_ignored(simulator):
    ends = []
    for action in ([1, -1, 0.5, 0, 0, 0, 1], [7, -3, 0.5, 1, -1, 0.3, 1]):
        start(simulator, DRAWER)
        for _ in range(5):
            observation = simulator.step({"actions": action}).obs
        ends.append(observation.tobytes())
    assert ends[0] == ends[1]


def test_another_number_of_values_is_refused(simulator):
    start(simulator, DRAWER)
    with pytest.raises(ValueError, match="7 numbers"):
        simulator.step({"actions": [0.0] * 4})


# Images ---------------------------------------------------------------------------------------------


def projected(simulator, point):
    """Column and row of a point (3,) in an image that the camera takes upright, by a pinhole camera."""
    model, data = simulator._env.model, simulator._env.data
    number = model.camera(CAMERA).id
    x, y, z = data.cam_xmat[number].reshape(3, 3).T @ (point - data.cam_xpos[number])
    focal = SIZE / 2 / np.tan(np.radians(model.cam_fovy[number]) / 2)
    # The camera looks along -z. It hangs upside down, so that its x points left and its y points down.
    return SIZE / 2 - focal * x / -z - 0.5, SIZE / 2 + focal * y / -z - 0.5


def test_an_object_appears_where_a_pinhole_camera_projects_it(simulator):
    start(simulator, BUTTON)
    model, data = simulator._env.model, simulator._env.data
    geoms = [n for n in range(model.ngeom) if model.body(model.geom_bodyid[n]).name == "button"]
    before = simulator.render_camera(CAMERA).astype(int)
    colours, materials = model.geom_rgba.copy(), model.geom_matid.copy()
    model.geom_rgba[geoms], model.geom_matid[geoms] = (0, 0, 1, 1), -1
    after = simulator.render_camera(CAMERA).astype(int)
    model.geom_rgba[:], model.geom_matid[:] = colours, materials
    rows, columns = np.nonzero(np.abs(after - before).sum(axis=2) > 30)
    assert len(rows) > 30
    visible = [n for n in geoms if model.geom_group[n] < 3]
    corners = [projected(simulator, data.geom_xpos[n]) for n in visible]
    column, row = np.mean(corners, axis=0)
    assert abs(columns.mean() - column) < 4 and abs(rows.mean() - row) < 4
    upside_down = SIZE - 1 - row
    assert abs(rows.mean() - upside_down) > 8 or abs(columns.mean() - (SIZE - 1 - column)) > 8


def test_what_is_higher_is_higher_in_the_image_and_the_far_end_of_the_table_is_right(simulator):
    start(simulator, BUTTON)
    place = np.array([0.0, 0.7, 0.1])
    column, row = projected(simulator, place)
    assert projected(simulator, place + [0, 0, 0.1])[1] < row - 5
    # The camera stands at the right of the table, from the robot, so what is farther from the robot is right.
    assert projected(simulator, place + [0, 0.1, 0])[0] > column + 5


def test_images_are_those_of_the_package_turned_upright(simulator):
    described, _ = start(simulator, DRAWER)
    image = simulator.make_obs(np.zeros(39), described)["images"][CAMERA].astype(int)
    theirs = package(simulator, DRAWER, render_mode="rgb_array", camera_name=CAMERA, width=SIZE, height=SIZE)
    theirs.reset()
    mujoco.mj_forward(theirs.model, theirs.data)
    picture = theirs.render().astype(int)
    theirs.close()
    # The package's images have shadows and reflections, so a few places differ.
    assert np.abs(image - picture[::-1, ::-1]).mean() < 12
    assert np.abs(image - picture).mean() > 30 and np.abs(image - picture[::-1]).mean() > 30
    assert np.median(np.abs(image - picture[::-1, ::-1])) <= 3


def test_a_picture_does_not_change_an_episode(simulator):
    ends = []
    for look in (False, True):
        described, raw = start(simulator, HAMMER)
        for _ in range(20):
            if look:
                simulator.make_obs(raw, described)
            raw = simulator.step({"actions": [0.5, 0.2, -0.7, 0, 0, 0, 1]}).obs
        ends.append(raw.tobytes())
    assert ends[0] == ends[1]


def test_between_plans_there_is_no_image_but_the_age_of_the_last(simulator):
    described, raw = start(simulator, DRAWER)
    simulator.look_every = 3
    try:
        seen = [simulator.make_obs(raw, described)]
        for _ in range(3):
            raw = simulator.step({"actions": [0, 1, -1, 0, 0, 0, 1]}).obs
            seen.append(simulator.make_obs(raw, described))
    finally:
        simulator.look_every = 1
    assert [each["image_age"] for each in seen] == [0, 1, 2, 0]
    first, *between, second = [each["images"][CAMERA] for each in seen]
    assert first.shape == second.shape and not np.array_equal(first, second)
    assert [image.shape for image in between] == [(1, 1, 3)] * 2


def test_the_state_is_the_hand_in_metres_and_the_opening_of_the_gripper(simulator):
    described, raw = start(simulator, DRAWER)
    simulator.send_state, openings = True, []
    try:
        for command in (-1, 1):
            for _ in range(30):
                raw = simulator.step({"actions": [0, 0, 0, 0, 0, 0, command]}).obs
            *hand, opening = simulator.make_obs(raw, described)["states"]
            np.testing.assert_allclose(hand, simulator._env.data.body("hand").xpos, atol=1e-6)
            openings.append(opening)
    finally:
        simulator.send_state = False
    assert openings[0] > 0.9 and 0 <= openings[1] < 0.5  # -1 opens


# Success --------------------------------------------------------------------------------------------


def package(simulator, task, **options):
    """The package's own environment, set up by its public interface for the simulator's initial state."""
    name = simulator.get_tasks()[task]["environment"]
    kind = ALL_V3_ENVIRONMENTS[name]
    data = {
        "rand_vec": simulator._env._last_rand_vec,
        "env_cls": kind,
        "partially_observable": False,
    }
    made = kind(**options)
    made.set_task(Task(env_name=name, data=pickle.dumps(data)))
    return made


@pytest.mark.parametrize("task", [DRAWER, HAMMER])
def test_an_episode_is_that_of_the_package_to_the_last_bit(simulator, task):
    """The same places, observations and success at the same step, without our class and without images."""
    described, raw = start(simulator, task, 3)
    theirs = package(simulator, task)
    expert = ENV_POLICY_MAP[described["environment"]]()
    observation, _ = theirs.reset()
    assert observation.tobytes() == raw.tobytes()
    for _ in range(200):
        action = np.clip(expert.get_action(raw), -1, 1)
        action[3] = 1 if action[3] > 0 else -1
        result = simulator.step({"actions": [*action[:3], 0, 0, 0, action[3]]})
        observation, _, _, _, info = theirs.step(action)
        raw = result.obs
        assert observation.tobytes() == raw.tobytes() and bool(info["success"]) == result.done
        simulator.make_obs(raw, described)
        if result.done:
            break
    theirs.close()
    assert result.done


@pytest.mark.parametrize(("task", "sense"), [(FAUCET_OPEN, 1), (FAUCET_CLOSE, -1)])
def test_the_words_clockwise_and_counterclockwise_are_true(simulator, task, sense):
    """As seen from above, from the axis of the faucet to its handle."""
    described, raw = start(simulator, task)
    expert = ENV_POLICY_MAP[described["environment"]]()
    axis = simulator._env.model.body("faucetBase").pos[:2].copy()
    arms = [raw[4:6] - axis]
    for _ in range(200):
        action = np.clip(expert.get_action(raw), -1, 1)
        result = simulator.step({"actions": [*action[:3], 0, 0, 0, 1]})
        raw = result.obs
        if result.done:
            break
    arms.append(raw[4:6] - axis)
    assert result.done
    assert np.sign(arms[0][0] * arms[1][1] - arms[0][1] * arms[1][0]) == sense


def test_the_experts_solve_the_ten_tasks(demonstrations, simulator):
    folder, solved = demonstrations
    frames = read_demonstrations(folder)
    assert solved == 10
    assert set(frames.tasks) == {task["name"] for task in simulator.get_tasks()}
    assert frames.images.shape[1:] == (64, 64, 3) and frames.images.std() > 10
    assert set(np.unique(frames.actions[:, 6])) == {-1.0, 1.0}
    assert np.abs(frames.actions[:, :3]).max() <= 1 and not frames.actions[:, 3:6].any()
    assert max(recorded_steps(folder).values()) < 120


def test_actions_without_rotation_survive_the_normalisation(demonstrations):
    folder, _ = demonstrations
    frames = read_demonstrations(folder, images=False)
    for kind in ("quantile", "range"):
        stats = json.loads((folder / "meta/stats.json").read_text())
        statistics = Statistics.from_stats(stats, kind, "metaworld")
        pose, gripper = statistics.normalise(frames.actions)
        actions = statistics.denormalise(pose, gripper - 0.5)
        assert np.isfinite(pose).all() and not actions[:, 3:6].any()
        np.testing.assert_allclose(actions, frames.actions, atol=1e-5)


# Messages -------------------------------------------------------------------------------------------


def test_another_version_is_one_line(monkeypatch, simulator):
    from vlm4vla_metaworld import CannotOpen

    simulator.cleanup()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "3.0.0")
    with pytest.raises(CannotOpen, match=r"^metaworld 3\.0\.0 is not 3\.1\.1: run `make env-metaworld`$"):
        start(simulator, DRAWER)


def test_no_opengl_is_one_line(tmp_path):
    """As without OSMesa: the library that the platform names cannot be loaded."""
    command = [
        sys.executable,
        "-m",
        "vlm4vla.cli",
        "metaworld-demonstrations",
        "--output",
        str(tmp_path / "o"),
    ]
    broken = tmp_path / "OpenGL"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no OpenGL')\n")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith("error: MuJoCo cannot render MetaWorld (ImportError: no OpenGL): run `make")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "o").exists()
