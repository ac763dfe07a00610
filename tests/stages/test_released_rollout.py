"""The stage rollout with a released pi0: real worlds, transformers' own actions, and no server."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pi0_models import own_actions, write_pi0

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.benchmarks import gripper
from vlm4vla.core.errors import UserError
from vlm4vla.core.seeding import rng_for
from vlm4vla.evaluation.rollouts import actors
from vlm4vla.policies.released.folder import folder_hash
from vlm4vla.stages import rollout as stage

EPISODES, HORIZON, SEED = 4, 2, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pi0(tmp_path_factory.mktemp("pi0"))


def settings(folder, **changes):
    evaluation = {"episodes": 1, "max_steps": 6, "execution_horizon": HORIZON, "videos": 0, "seed": SEED}
    return RolloutSettings(
        policy="vla",
        backbone="pi0",
        variant="full",
        benchmark="bridge",
        seed=0,
        evaluation=evaluation,
        image_size=64,
        study="test",
        scale="smoke",
        released={"checkpoint": str(folder), **changes},
    )


@pytest.fixture(scope="module")
def played(folder, tmp_path_factory):
    """The folder of a rollout, and the inputs and the output of each plan."""
    torch.set_num_threads(1)
    plans = []
    plan = actors.PredictingActor.plan

    def watched(self, worlds, tasks, episodes, images):
        given = [world.state() for world in worlds], [task.instruction for task in tasks], list(episodes)
        plans.append((*given, np.array(images), plan(self, worlds, tasks, episodes, images)))
        return plans[-1][-1]

    output = tmp_path_factory.mktemp("rollout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actors.PredictingActor, "plan", watched)
        stage.run(settings(folder), output=output)
    return output, plans


def test_actions_are_transformers_own_for_the_same_noise(folder, played):
    _, plans = played
    assert len(plans) == 3  # six steps, two of each chunk
    clamp = gripper("bridge")
    for number, (states, instructions, episodes, images, found) in enumerate(plans):
        noise = [rng_for("policy noise", SEED, each, number).standard_normal((4, 9)) for each in episodes]
        expected = own_actions(folder, images, instructions, np.stack(states), np.stack(noise))[:, :HORIZON]
        assert found.shape == (EPISODES, HORIZON, 7)
        np.testing.assert_allclose(found[..., :6], expected[..., :6], atol=2e-5)
        closer = np.where(expected[..., 6] > clamp.middle, clamp.high, clamp.low)
        assert np.array_equal(found[..., 6], closer)


def test_records_name_the_bytes_of_the_folder(folder, played):
    output, _ = played
    rows = pq.read_table(output / "episodes.parquet")
    assert len(rows) == EPISODES and set(rows["steps"].to_pylist()) == {6}
    assert set(rows["model"].to_pylist()) == {"pi0"}
    assert set(rows["checkpoint"].to_pylist()) == {folder_hash(folder)}
    assert str(folder) in rows["protocol"][0].as_py()
    record = json.loads((output / "provenance.json").read_text())
    assert record["settings"]["released"]["checkpoint"] == str(folder) and record["inputs"] == {}


def test_the_robot_moves(played):
    _, plans = played
    states = [np.stack(plan[0]) for plan in plans]
    assert np.abs(states[1] - states[0])[:, :3].max(axis=1).min() > 1e-3


def test_a_finished_rollout_is_repeated_byte_for_byte(folder, played, tmp_path):
    output, _ = played
    stage.run(settings(folder), output=tmp_path)
    assert (tmp_path / "episodes.parquet").read_bytes() == (output / "episodes.parquet").read_bytes()


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="checkpoint: 'no/folder' is not a local folder"):
        stage.run(settings("no/folder"), output=tmp_path)
