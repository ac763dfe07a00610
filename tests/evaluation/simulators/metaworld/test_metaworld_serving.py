"""Recorded actions on the real MetaWorld, through the policy server and vla-eval as processes."""

import json
import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageSequence
from served_processes import children, played, recorded_steps, when
from simulator_examples import METAWORLD, rollout

from vlm4vla.analysis.records import read_episodes
from vlm4vla.core.errors import UserError
from vlm4vla.report.rows.films import read_films
from vlm4vla.stages import rollout as stage

SERVER = "vlm4vla.evaluation.simulators.server"
TASKS = [0, 1, 2, 5, 7, 8]


def settings(policy="expert", **changes):
    """A rollout that plays the first initial state of demonstrations."""
    simulator = METAWORLD | {"render": "cpu", "tasks": TASKS, "first_state": 1000}
    changes = {"episodes": 1, "max_steps": 130, "execution_horizon": 4} | changes
    return rollout("metaworld", policy=policy, model=policy, simulator=simulator, **changes)


def test_recorded_actions_solve_the_tasks_again(tmp_path, demonstrations):
    folder, _ = demonstrations
    recorded = recorded_steps(folder)
    stage.run(settings(), demonstrations=folder, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet").to_pylist()
    assert [row["success"] for row in rows] == [True] * len(TASKS)
    for row in rows:  # solved at the same step as in the recording
        assert abs(row["steps"] - recorded[row["instruction"], row["initial_state"]]) <= 2
    assert "initial states 1000 to 1000" in rows[0]["protocol"]
    assert "gripper -1 opens and +1 closes" in rows[0]["protocol"]


def test_the_packages_experts_are_the_ceiling(tmp_path, demonstrations):
    stage.run(settings("script"), output=tmp_path / "expert")
    rows = pq.read_table(tmp_path / "expert/episodes.parquet")
    assert rows["success"].to_pylist() == [True] * len(TASKS)
    for film in read_films([tmp_path / "expert/episodes.parquet"]):
        with Image.open(film.path) as frames:
            pictures = ImageSequence.all_frames(frames, lambda frame: frame.convert("RGB"))
        first, last = (np.asarray(pictures[index], int) for index in (0, -1))
        assert (np.abs(first - last).max(axis=2) > 30).mean() > 0.01  # the robot has moved
    # The records fit into one table with those of a policy.
    folder, _ = demonstrations
    stage.run(settings("random"), demonstrations=folder, output=tmp_path / "random")
    records = read_episodes([tmp_path / name / "episodes.parquet" for name in ("expert", "random")])
    assert len(records) == 2 * len(TASKS)


def test_random_actions_run_and_solve_nothing(tmp_path, demonstrations):
    folder, _ = demonstrations
    stage.run(settings("random", max_steps=40), demonstrations=folder, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert rows["success"].to_pylist() == [False] * len(TASKS)
    assert rows["steps"].to_pylist() == [40] * len(TASKS)
    films = read_films([tmp_path / "episodes.parquet"])
    assert [film.episode for film in films] == [0, 1, 2]  # the first state of three tasks
    assert len({film.instructions for film in films}) == 3
    for film in films:  # an image for each plan of four actions
        with Image.open(film.path) as frames:
            assert (frames.size, frames.n_frames) == ((128, 128), 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [(SERVER, "the policy server died"), ("simulator0", "the simulator ended with status -9")],
    ids=["server", "simulator"],
)
def test_finished_episodes_are_kept_when_a_process_dies(tmp_path, demonstrations, name, message):
    folder, _ = demonstrations
    killer = when(
        lambda: children(name) if len(played(tmp_path)) >= 2 else [],
        lambda found: os.kill(found[0], signal.SIGKILL),
    )
    with pytest.raises(UserError, match=message) as caught:
        stage.run(settings(), demonstrations=folder, output=tmp_path)
    killer.join()
    assert "\n" not in str(caught.value)
    done = {number for number, each in played(tmp_path).items() if each.failure is None}
    assert 2 <= len(done) < len(TASKS)
    stage.run(settings(), demonstrations=folder, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert rows["success"].to_pylist() == [True] * len(TASKS)
    runs = sorted(p for p in (tmp_path / "shards/0/played").iterdir() if p.is_dir())
    asked = json.loads((runs[1] / "simulator0/vla-eval.yaml").read_text())
    again = {each["number"] for each in asked["benchmarks"][0]["params"]["episodes"]}
    assert len(runs) == 2 and again == set(range(len(TASKS))) - done  # no episode runs twice
