"""Recording scripted demonstrations, with a simulator and experts of a few lines."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from served_processes import recorded_steps

from vlm4vla import cli
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.evaluation.simulators import metaworld_demonstrations
from vlm4vla.evaluation.simulators.metaworld_demonstrations import EXPERTS, expert_script, record_dataset


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [
        ([0.2, -0.4, 0.9, -1.0], [0.2, -0.4, 0.9, 0, 0, 0, -1]),
        ([10, -3, 1, 0.6], [1, -1, 1, 0, 0, 0, 1]),  # the simulator clips, too
        ([0, 0, 0, 0.0], [0, 0, 0, 0, 0, 0, -1]),  # no effort does not hold an object
    ],
)
def test_an_expert_acts_in_the_form_of_the_study(chosen, sent):
    expert = SimpleNamespace(get_action=lambda observation: np.float32(chosen) + observation)
    action = expert_script(expert)(np.zeros(4, dtype=np.float32))
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, sent, atol=1e-7)


class Line:
    """A hand on a line. The task is solved at 1; from state 1001 it is out of reach."""

    def get_tasks(self):
        return [{"name": f"go to {n}", "environment": str(n)} for n in range(10)]

    def reset(self, described):
        self.left = 3 + described["episode_idx"] - 1000 if described["episode_idx"] != 1001 else 99
        return np.zeros(39)

    def step(self, action):
        self.left -= 1
        return SimpleNamespace(obs=np.zeros(39), done=self.left == 0)

    def make_obs(self, raw, described):
        image = np.full((128, 128, 3), 10 * self.left % 256, dtype=np.uint8)
        return {"images": {"corner4": image}, "states": raw[:4]}

    def cleanup(self):
        pass


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setattr(metaworld_demonstrations, "open_simulator", lambda **_: Line())
    changed = {
        **vars(EXPERTS),
        "script": lambda simulator, described: lambda raw: np.full(7, 0.5, np.float32),
    }
    monkeypatch.setattr(metaworld_demonstrations, "EXPERTS", type(EXPERTS)(**changed))


def test_solved_episodes_are_recorded_with_their_initial_states(tmp_path, line):
    solved = record_dataset(tmp_path, tasks=[0, 4], states=[1000, 1001, 1002], size=32, max_steps=20)
    frames = read_demonstrations(tmp_path)
    assert solved == 4 and frames.images.shape == (16, 32, 32, 3)
    assert recorded_steps(tmp_path) == {
        (f"go to {task}", state): steps for task in (0, 4) for state, steps in ((1000, 3), (1002, 5))
    }


def test_noise_changes_what_is_executed_and_not_what_is_recorded(tmp_path, line, monkeypatch):
    executed = []
    step = Line.step
    monkeypatch.setattr(
        Line, "step", lambda line, action: executed.append(action["actions"]) or step(line, action)
    )
    options = {"tasks": [0], "states": [*range(1002, 1022)], "size": 32, "noise": 0.25}
    record_dataset(tmp_path / "a", **options)
    assert (read_demonstrations(tmp_path / "a", images=False).actions == 0.5).all()
    first, executed[:] = np.stack(executed), []
    changed = (first[:, :3] != 0.5).any(axis=1)
    assert 0.18 < changed.mean() < 0.32 and len(changed) == sum(range(5, 25))
    assert (first[:, 3:] == 0.5).all() and np.abs(first).max() <= 1
    record_dataset(tmp_path / "b", **options)
    np.testing.assert_array_equal(np.stack(executed), first)
    executed.clear()
    record_dataset(tmp_path / "c", **options, noise_seed=1)
    assert (np.stack(executed) != first).any()


def test_states_of_evaluations_and_unknown_tasks_are_refused(tmp_path, line):
    with pytest.raises(UserError, match=r"--states: 999 is an initial state of evaluations: .* from 1000 on"):
        record_dataset(tmp_path, tasks=[0], states=[1000, 999], size=32)
    with pytest.raises(UserError, match="--tasks: there is no script for task 10"):
        record_dataset(tmp_path, tasks=[0, 10], states=[1000], size=32)
    with pytest.raises(UserError, match="solved none of 1 episodes"):
        record_dataset(tmp_path, tasks=[0], states=[1001], size=32, max_steps=5)


def test_states_that_libero_does_not_have_are_refused(tmp_path, capsys):
    words = ["libero-demonstrations", "--tasks", "5", "--states", "49", "50", "--output", str(tmp_path / "o")]
    assert cli.main(words) == 1
    assert "--states: LIBERO-10 has no initial state 50: write numbers below 50" in capsys.readouterr().err


@pytest.mark.parametrize(("simulator", "state"), [("libero", "0"), ("metaworld", "1000")])
def test_a_simulator_that_is_not_installed_is_one_line(tmp_path, capsys, monkeypatch, simulator, state):
    monkeypatch.setitem(sys.modules, f"vlm4vla_{simulator}", None)
    words = [f"{simulator}-demonstrations", "--states", state, "--output", str(tmp_path / "o")]
    assert cli.main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {simulator}: 'vlm4vla_{simulator}' is not installed in ")
    assert error.endswith(f"run `make env-{simulator}`\n") and error.count("\n") == 1
