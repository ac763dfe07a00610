"""Evaluations on the initial states of the demonstrations are noticed."""

import json

import numpy as np
import pytest
from simulator_examples import protocol

from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation.simulators.recorded_states import overlap_note, policy_note, recorded_states


def write(folder, states):
    """A dataset with one episode of two frames from each of `states`; without states if there are none."""
    extra = {"initial_state": ("index",)} if states else {}
    writer = LeRobotWriter(
        folder, fps=20, robot_type="panda", image_size=8, state_names=("x",), extra_columns=extra
    )
    with writer:
        for state in states or (None,):
            columns = {"initial_state": np.full((2, 1), state, np.float32)} if states else {}
            writer.add_episode(
                np.zeros((2, 8, 8, 3), np.uint8),
                np.zeros((2, 1), np.float32),
                np.zeros((2, 7), np.float32),
                "put it there",
                columns,
            )
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write(tmp_path_factory.mktemp("recorded"), [0, 1, 2, 29])


def test_the_states_of_a_dataset(dataset, tmp_path):
    assert recorded_states(dataset) == {0, 1, 2, 29}
    assert recorded_states(write(tmp_path, [])) == set()


@pytest.mark.parametrize(
    ("changes", "episodes", "both"),
    [
        ({}, 20, "3 of the 20 initial states per task that the evaluation plays (0 to 2)"),
        ({"first_state": 20}, 20, "1 of the 20 initial states per task that the evaluation plays (29 to 29)"),
        ({"first_state": 30}, 20, None),
        ({"variation": "object"}, 20, None),
    ],
)
def test_states_of_the_evaluation_that_were_recorded(dataset, changes, episodes, both):
    note = overlap_note(protocol("libero-10", changes, episodes=episodes), dataset)
    assert note is None if both is None else note.startswith(both) and "first_state" in note


def test_a_policy_is_followed_to_its_demonstrations(dataset, tmp_path):
    index = tmp_path / "demonstrations" / "provenance.json"
    index.parent.mkdir()
    (tmp_path / "vla").mkdir()
    record = {"inputs": {"demonstrations": {"path": str(index), "sha256": ""}}}
    (tmp_path / "vla" / "provenance.json").write_text(json.dumps(record))
    evaluation = protocol("libero-10", episodes=10)
    assert policy_note(evaluation, tmp_path / "vla") is None  # the demonstrations are elsewhere
    index.write_text(json.dumps({"source": {"folder": str(dataset)}}))
    assert policy_note(evaluation, tmp_path / "vla").startswith("3 of the 10")
    assert policy_note(evaluation, tmp_path / "nothing") is None
