"""The real LIBERO simulator with scripted demonstrations, recorded actions and a small VLA."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from recorded_tasks import SIZE, STATES, TASKS
from served_processes import recorded_steps
from simulator_examples import LIBERO, rollout

from vlm4vla.analysis.records import read_episodes
from vlm4vla.backbones import build
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.config.stages import VlaSettings
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import write_json
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.evaluation.simulators.conversions import quaternion_to_axis_angle, rotate_180
from vlm4vla.evaluation.simulators.libero_demonstrations import open_simulator
from vlm4vla.stages import rollout as stage
from vlm4vla.stages import vla as vla_stage

CAMERA = "agentview"
ON_CPU = LIBERO | {"unnormalisation": "range", "render": "cpu", "tasks": list(TASKS)}
INSTRUCTIONS = {
    0: "put both the alphabet soup and the tomato sauce in the basket",
    1: "put both the cream cheese box and the butter in the basket",
    7: "put both the alphabet soup and the cream cheese box in the basket",
}


@pytest.fixture(scope="module")
def simulator(one_thread):
    made = open_simulator()
    yield made
    made.cleanup()


def test_the_script_solves_three_tasks(demonstrations):
    folder, solved = demonstrations
    frames = read_demonstrations(folder)
    assert set(frames.tasks) == set(INSTRUCTIONS.values())
    assert solved >= len(TASKS) * len(STATES) - 1
    assert frames.images.shape[1:] == (SIZE, SIZE, 3) and frames.images.std() > 10
    assert set(np.unique(frames.actions[:, 6])) == {-1.0, 1.0}
    assert np.abs(frames.actions[:, :6]).max() <= 1


def test_the_gripper_closes_at_plus_one(simulator):
    task = {**simulator.get_tasks()[0], "episode_idx": 0}
    widths = {}
    for command in (-1.0, 1.0):
        simulator.reset(task)
        for _ in range(15):
            result = simulator.step({"actions": [0.0] * 6 + [command]})
        widths[command] = np.ptp(result.obs["robot0_gripper_qpos"])
    assert widths[-1.0] > 0.06 and widths[1.0] < 0.02  # metres between the fingers


def test_images_are_those_of_the_simulator_turned_upright(simulator):
    """Compare with the environment that users of LIBERO open, whose observations contain images."""
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs import OffScreenRenderEnv

    task = simulator.get_tasks()[0]
    described = task["task_obj"]
    path = Path(get_libero_path("bddl_files")) / described.problem_folder / described.bddl_file
    theirs = OffScreenRenderEnv(bddl_file_name=str(path), camera_heights=128, camera_widths=128)
    theirs.seed(0)
    theirs.reset()
    states = benchmark.get_benchmark_dict()["libero_10"]().get_task_init_states(0)
    raw = theirs.set_init_state(states[0])
    for _ in range(10):
        raw, _, _, _ = theirs.step([0.0] * 6 + [-1.0])
    theirs.close()
    described = {**task, "episode_idx": 0}
    ours = simulator.make_obs(simulator.reset(described), described)
    image = ours["images"][CAMERA]
    if image.shape != (128, 128, 3):
        image = np.asarray(Image.fromarray(image).resize((128, 128)))
    difference = np.abs(image.astype(int) - rotate_180(raw["agentview_image"])).mean()
    assert difference < 1
    # The robot is at the far side of the table, so its white arm is in the upper half of an upright image.
    upside_down = np.abs(image.astype(int) - raw["agentview_image"]).mean()
    assert upside_down > 10


def test_states_are_axis_angles_as_robosuite_writes_them(simulator):
    import robosuite.utils.transform_utils as robosuite

    described = {**simulator.get_tasks()[0], "episode_idx": 1}
    raw = simulator.reset(described)
    states = simulator.make_obs(raw, described)["states"]
    quaternion = raw["robot0_eef_quat"]
    np.testing.assert_allclose(states[3:6], robosuite.quat2axisangle(quaternion.copy()), atol=1e-5)
    np.testing.assert_allclose(quaternion_to_axis_angle(quaternion, shortest=False), states[3:6], atol=1e-5)
    flipped = quaternion_to_axis_angle(-quaternion, shortest=False)
    np.testing.assert_allclose(flipped, robosuite.quat2axisangle(-quaternion), atol=1e-5)
    # -q is the same rotation as q but gives another axis-angle vector.
    assert np.abs(flipped - states[3:6]).max() > 1


def test_objects_settle_during_the_idle_steps(simulator):
    """In the stored initial states, objects still fall when an episode begins."""
    described = {**simulator.get_tasks()[0], "episode_idx": 0}
    simulator.reset(described)
    settled = simulator.step({"actions": [0.0] * 6 + [-1.0]}).obs
    simulator.num_steps_wait, kept = 0, simulator.num_steps_wait
    try:
        start = simulator.reset(described)
    finally:
        simulator.num_steps_wait = kept
    names = [name for name in start if name.endswith("_1_pos")]
    moved = max(float(np.linalg.norm(settled[name] - start[name])) for name in names)
    assert kept == 10 and moved > 1e-3


def test_recorded_actions_solve_the_tasks_again_through_the_server(tmp_path, demonstrations):
    folder, _ = demonstrations
    recorded = recorded_steps(folder)
    tasks = [task for task in TASKS if (INSTRUCTIONS[task], 0) in recorded]
    assert len(tasks) >= 2
    settings = rollout(
        "libero-10",
        policy="expert",
        model="expert",
        simulator=ON_CPU | {"tasks": tasks, "runs": {"processes": 2}},
        episodes=1,
        max_steps=520,
        execution_horizon=4,
        seed=0,
        size=SIZE,
    )
    stage.run(settings, demonstrations=folder, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet").to_pylist()
    assert [row["success"] for row in rows] == [True] * len(tasks)
    for row in rows:  # solved at the same step as in the recording
        assert abs(row["steps"] - recorded[row["instruction"], row["initial_state"]]) <= 2


def test_a_small_vla_is_trained_on_demonstrations_and_evaluated_on_the_simulator(tmp_path, demonstrations):
    folder, _ = demonstrations
    words = " ".join([*INSTRUCTIONS.values(), "what action should the robotic arm take to"]).split()
    size = TinySize(hidden=32, intermediate=48, heads=4, layers=2, vision_hidden=32, vision_intermediate=48)
    family = "qwen2_5_vl"
    backbone = build(
        Backbone(family=family, parameters_b=1, tiny=size, pretraining="any"),
        "tiny",
        sorted(set(words)),
        SIZE,
        0,
    )
    backbone.save(tmp_path / "backbone")
    write_json(tmp_path / "backbone" / "provenance.json", {"stage": "backbone"})
    optimiser = Optimiser(name="muon", learning_rate=2e-3)
    training = Training(steps=1200, batch=32, optimiser=optimiser, checkpoint_every=2000, log_every=20)
    vla_stage.run(
        VlaSettings(
            backbone="tiny",
            variant="full",
            benchmark="libero-10",
            seed=0,
            freeze="none",
            initial_weights="backbone",
            chunk=4,
            normalisation="range",
            shift=2,
            colour_jitter=0.1,
            head=MlpHeadSettings(trunk=64, features=64, hidden=[64], gripper_loss_weight=0.1),
            training=training,
        ),
        backbone=tmp_path / "backbone",
        demonstrations=folder,
        output=tmp_path / "vla",
    )
    losses = [json.loads(line) for line in (tmp_path / "vla/train.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in losses if "loss" in line]
    assert np.mean(losses[-5:]) < 0.75 * losses[0]  # clearly under the loss after 120 updates
    settings = rollout(
        "libero-10",
        model="tiny",
        simulator=ON_CPU | {"runs": {"processes": 2}},
        episodes=1,
        max_steps=120,
        execution_horizon=4,
        seed=0,
        size=SIZE,
    )
    stage.run(settings, vla=tmp_path / "vla", output=tmp_path / "rollout")
    frame = read_episodes([tmp_path / "rollout" / "episodes.parquet"], study="test", scale="smoke")
    assert frame["instruction"].tolist() == [INSTRUCTIONS[task] for task in TASKS]
    assert (frame["steps"] == np.where(frame["success"], frame["steps"], 120)).all()
    assert frame["protocol"].str.contains("4 steps of a chunk executed").all()
