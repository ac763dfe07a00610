"""Demonstrations: replaying the recorded actions of an undisturbed expert solves the task again."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from process_checks import running, wait_until
from simulator_examples import METAWORLD

from vlm4vla.benchmarks.arena import Arena
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.benchmarks.recording import record, recordings
from vlm4vla.benchmarks.world import World
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.stages import demonstrations as demonstrations_stage


@pytest.mark.parametrize("name", ["calvin", "bridge", "libero-10"])
def test_replaying_recorded_actions_solves_the_task_again(name):
    benchmark = get_benchmark(name)
    episode = benchmark.demonstration(0, 0)
    world = World(Arena(episode.layout))
    task = episode.tasks[0]
    episode.start(world)
    recording = record(benchmark, world, task, np.random.default_rng(0), 0.0, 100)
    episode.start(world)
    task.begin(world)
    for action in recording.actions:
        assert not task.done(world)
        benchmark.apply(world, action)
    assert task.done(world)


def test_gripper_points_are_where_mujocos_camera_sees_the_hand():
    """By the camera's pose in MuJoCo's own data and a pinhole; and pixels there change with the hand."""
    benchmark = get_benchmark("bridge")
    episode = benchmark.demonstration(1, 0)
    world = World(Arena(episode.layout))
    episode.start(world)
    hand, picture = world.hand.copy(), world.render().astype(int)
    x, y, z = world.data.cam_xmat[0].reshape(3, 3).T @ (hand - world.data.cam_xpos[0])
    width = 2 * np.tan(np.deg2rad(world.model.cam_fovy[0]) / 2)
    point = record(benchmark, world, episode.tasks[0], np.random.default_rng(0), 0.0, 100).points[0]
    np.testing.assert_allclose(point, [0.5 - x / z / width, 0.5 + y / z / width], atol=1e-6)
    episode.start(world)
    world.hand = np.array([0.25, 0.2, 0.2])  # in a corner
    world._write_state()
    column, row = (point * 64).astype(int)
    assert np.abs(picture - world.render())[row - 2 : row + 3, column - 2 : column + 3].max() > 30


def test_noise_leaves_labels_clean_and_tasks_solvable():
    benchmark = get_benchmark("bridge")
    quiet, noisy = (list(recordings(benchmark, 12, noise, 0, 100, 64)) for noise in (0.0, 0.3))
    limit = benchmark.speed + 1e-6
    assert all(np.linalg.norm(r.actions[:, :3], axis=1).max() <= limit for r in noisy)
    assert sum(len(r.actions) for r in noisy) > sum(len(r.actions) for r in quiet)


def in_environment(folder):
    """The settings of a recording in the environment `folder`."""
    return DemonstrationsSettings(
        benchmark="metaworld",
        demonstrations={"episodes": 2, "noise": 0},
        image_size=64,
        max_steps=60,
        simulator=METAWORLD | {"runs": {"environment": str(folder)}},
    )


@pytest.mark.parametrize("fails", [False, True])
def test_a_real_simulator_is_recorded_in_its_own_environment(tmp_path, monkeypatch, capfd, fails):
    """The environment's program gets the settings and the folder. A failure there is an error here."""
    python = tmp_path / "own" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\necho "error: no OpenGL" >&2; exit 1\n' if fails else '#!/bin/sh\necho "$3 $4"\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr("vlm4vla.evaluation.simulators.installation.check_installed", lambda *_: None)
    settings = in_environment(tmp_path / "own")
    if fails:
        with pytest.raises(UserError, match=r"metaworld.demonstrations: .* status 1: read the lines"):
            demonstrations_stage.run(settings, output=tmp_path / "out")
        assert "error: no OpenGL" in capfd.readouterr().err
        return
    demonstrations_stage.run(settings, output=tmp_path / "out")
    text, folder = capfd.readouterr().out.rsplit(" ", 1)
    assert DemonstrationsSettings.model_validate_json(text) == settings
    assert folder.strip() == str(tmp_path / "out")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_recording_in_another_environment_ends_with_the_stage(tmp_path, sent):
    """It would otherwise write to the folder of the next attempt."""
    python = tmp_path / "own" / "bin" / "python"
    python.parent.mkdir(parents=True)
    file = tmp_path / "pid"
    python.write_text(f"#!/bin/sh\necho $$ > {file}.new\nmv {file}.new {file}\nexec sleep 60\n")
    python.chmod(0o755)
    settings = in_environment(tmp_path / "own")
    program = (
        "import sys; from pathlib import Path; from vlm4vla.config.stages import DemonstrationsSettings as S;"
        "from vlm4vla.evaluation.simulators import installation; from vlm4vla.stages import demonstrations;"
        "installation.check_installed = lambda *_: None;"
        "demonstrations.run(S.model_validate_json(sys.argv[1]), output=Path(sys.argv[2]))"
    )
    stage = subprocess.Popen(
        [sys.executable, "-c", program, settings.model_dump_json(), str(tmp_path / "out")]
    )
    wait_until((tmp_path / "pid").exists)
    recorder = int((tmp_path / "pid").read_text())
    stage.send_signal(sent)
    stage.wait(30)
    wait_until(lambda: not running(recorder))


@pytest.mark.parametrize("rendered", [None, 96])
def test_experts_are_recorded_from_states_of_demonstrations(tmp_path, monkeypatch, rendered):
    recorded = []
    monkeypatch.setattr("vlm4vla.evaluation.simulators.installation.check_installed", lambda *_: None)
    monkeypatch.setattr(
        "vlm4vla.evaluation.simulators.metaworld_demonstrations.record_dataset",
        lambda output, **options: recorded.append(options),
    )
    settings = DemonstrationsSettings(
        benchmark="metaworld",
        demonstrations={"episodes": 3, "noise": 0.1, "seed": 5},
        image_size=64,
        max_steps=60,
        simulator=METAWORLD
        | {"tasks": [4, 2], "environment_seed": 7, "params": {"image_size": rendered} if rendered else {}},
    )
    demonstrations_stage.run(settings, output=tmp_path)
    [options] = recorded
    assert options.pop("provenance").record()["settings"] == settings.model_dump(mode="json")
    assert options == {
        "tasks": [4, 2], "states": range(1000, 1003), "size": 64, "max_steps": 60, "render": "gpu", "seed": 7,
        "noise": 0.1, "noise_seed": 5, "rendered": rendered,
    }  # fmt: skip


def test_the_stage_writes_a_data_set_that_reads_back(tmp_path):
    settings = DemonstrationsSettings(
        benchmark="calvin", demonstrations={"episodes": 6, "noise": 0.2}, image_size=64, max_steps=60
    )
    demonstrations_stage.run(settings, output=tmp_path / "a")
    demonstrations_stage.run(settings, output=tmp_path / "b")
    data = read_demonstrations(tmp_path / "a")
    assert len(set(data.episode_index.tolist())) == 6 and data.images.shape[1:] == (64, 64, 3)
    assert set(np.unique(data.actions[:, 6])) <= {-1.0, 1.0}
    assert np.abs(data.actions[:, :6]).max() <= 0.65
    name = "data/chunk-000/file-000.parquet"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_expert_that_cannot_work_is_reported():
    with pytest.raises(UserError, match="demonstrations"):
        list(recordings(get_benchmark("bridge"), 50, 0.0, 0, 2, 64))
