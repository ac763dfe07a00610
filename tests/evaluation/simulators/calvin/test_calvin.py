"""The real CALVIN simulator: the effect of actions, and recorded actions through the policy server."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from simulator_examples import protocol, rollout

from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.core.artefacts import write_json
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation.simulators.conversions import ActionConverter
from vlm4vla.evaluation.simulators.episodes import benchmark_entries
from vlm4vla.evaluation.simulators.served_policies import INITIAL_STATE
from vlm4vla.stages import rollout as stage

CHAINS, STEPS, SIZE = 8, 90, 64
OPEN, CLOSED = 1.0, -1.0
PRESSES = ("turn_on_led", "turn_off_led")
STATES = ("x", "y", "z", "roll", "pitch", "yaw", "width", "gripper")


@pytest.fixture(scope="module")
def simulator(validation):
    """vla-eval's adapter, created as in an evaluation. It renders on the CPU."""
    from vla_eval.recording import NullEpisodeRecorder
    from vla_eval.registry import resolve_import_string

    kind = resolve_import_string(KNOWN["calvin"].adapter)
    kind.configure_render("cpu")
    named = {"params": {"dataset_path": validation}}
    evaluation = protocol("calvin", named, episodes=CHAINS, max_steps=STEPS)
    made = kind(**{**benchmark_entries(evaluation)[0].params, "send_state": True})
    made._recorder = NullEpisodeRecorder()  # vla-eval sets a recorder for every episode
    yield made
    made.cleanup()


@pytest.fixture(scope="module")
def sent():
    """A function that converts a policy's action as the server does."""
    convert = ActionConverter("calvin", protocol("calvin").simulator)
    return lambda *action: {"actions": convert(np.array(action, dtype=np.float32))}


def begin(simulator, subtasks=PRESSES * 2 + PRESSES[:1]):
    """Begin an episode with the chain `subtasks`, by default five presses. Return the task and the state."""
    task = dict(simulator.get_tasks()[0])
    task["initial_condition"] = {**task["initial_condition"], "led": 0}
    task["eval_sequence"] = list(subtasks)
    return task, state(simulator, simulator.reset(task), task)


def state(simulator, raw, task):
    return np.asarray(simulator.make_obs(raw, task)["states"], dtype=np.float64)


def test_the_gripper_opens_at_plus_one(simulator, sent):
    task, _ = begin(simulator)
    widths = {}
    for command in (CLOSED, OPEN):
        for _ in range(20):
            result = simulator.step(sent(0, 0, 0, 0, 0, 0, command))
        widths[command] = state(simulator, result.obs, task)[6]
    assert widths[OPEN] > 0.07 and widths[CLOSED] < 0.01  # metres between the fingers


@pytest.mark.parametrize("axis, sign", [(0, 1), (1, -1), (2, 1)])
def test_an_action_of_one_moves_by_two_centimetres(simulator, sent, axis, sign):
    task, start = begin(simulator)
    action = np.zeros(7)
    action[axis], action[6] = sign, OPEN
    for _ in range(4):
        simulator.step(sent(*action))
    for _ in range(15):  # the gripper reaches its target
        result = simulator.step(sent(0, 0, 0, 0, 0, 0, OPEN))
    moved = state(simulator, result.obs, task)[:3] - start[:3]
    expected = np.zeros(3)
    expected[axis] = sign * 4 * 0.02
    np.testing.assert_allclose(moved, expected, atol=0.008)


def test_an_action_of_one_turns_by_a_twentieth_of_a_radian(simulator, sent):
    task, start = begin(simulator)
    for _ in range(6):
        simulator.step(sent(0, 0, 0, 0, 0, 1, OPEN))
    for _ in range(15):
        result = simulator.step(sent(0, 0, 0, 0, 0, 0, OPEN))
    assert state(simulator, result.obs, task)[5] - start[5] == pytest.approx(6 * 0.05, abs=0.03)


def test_images_are_upright(simulator):
    """A block is where a pinhole camera at the configured position sees it. Rows are counted from the top."""
    task, _ = begin(simulator)
    image = simulator.make_obs(simulator.reset(task), task)["images"]["rgb_static"].astype(int)
    assert image.shape == (200, 200, 3)
    camera, info = simulator._env.env.cameras[0], simulator._env.get_info()
    block = np.array(info["scene_info"]["movable_objects"]["block_blue"]["current_pos"])
    ahead = np.array(camera.look_at) - camera.look_from
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, camera.up_vector)
    right /= np.linalg.norm(right)
    seen = block - camera.look_from
    across, down = seen @ right / (seen @ ahead), -(seen @ np.cross(right, ahead)) / (seen @ ahead)
    half = np.tan(np.radians(camera.fov / 2))
    expected = 100 * (1 + np.array([down, across]) / half)
    blue = (image[..., 2] > 120) & (image[..., :2].max(axis=2) < 80)
    assert blue.sum() > 50
    np.testing.assert_allclose(np.argwhere(blue).mean(axis=0), expected, atol=6)


class Press:
    """Actions that press the button repeatedly: move over the button, down and up."""

    def __init__(self, simulator):
        button = simulator._env.env.scene.buttons[0]
        link = button.p.getLinkState(button.uid, button.joint_index, physicsClientId=button.cid)
        self._button = np.array(link[0])
        self._heights, self._phase, self._steps = (0.08, 0.01), 0, 0  # metres; a deeper press would get stuck

    def __call__(self, hand):
        distance = self._button + [0, 0, self._heights[self._phase]] - hand[:3]
        self._steps += 1
        if np.linalg.norm(distance) < 0.015 or self._steps > 25:
            self._phase, self._steps = 1 - self._phase, 0
        return np.array([*np.clip(0.5 * distance / 0.02, -1, 1), 0, 0, 0, CLOSED], dtype=np.float32)


def test_a_chain_of_presses_is_counted_by_calvins_oracle(simulator, sent):
    task, hand = begin(simulator)
    press, completed, instructions = Press(simulator), [0], set()
    for _ in range(5 * STEPS):
        result = simulator.step(sent(*press(hand)))
        seen = simulator.make_obs(result.obs, task)
        hand = np.asarray(seen["states"], dtype=np.float64)
        instructions.add(seen["task_description"])
        completed.append(max(completed[-1], result.info.get("completed", 0)))
        if result.done:
            break
    assert result.info == {"success": True} and set(completed) == {0, 1, 2, 3, 4}
    assert simulator.get_step_result(result) == {"success": True, "completed_subtasks": 5}
    assert len(instructions) == 2


@pytest.fixture(scope="module")
def recorded(simulator, sent, tmp_path_factory):
    """A dataset of the first chains, and the number of solved instructions of each.

    If a chain begins with a press of the button, the button is pressed; otherwise the robot stands still.
    """
    folder, solved = tmp_path_factory.mktemp("calvin"), []
    with LeRobotWriter(
        folder,
        fps=30,
        robot_type="panda",
        image_size=SIZE,
        state_names=STATES,
        extra_columns={INITIAL_STATE: ("index",)},
    ) as writer:
        for number, task in enumerate(simulator.get_tasks()):
            hand = state(simulator, simulator.reset(task), task)
            press, states, actions = Press(simulator), [], []
            first, done = task["eval_sequence"][0], False
            while not done:
                action = press(hand) if first in PRESSES else np.array([0.0] * 6 + [OPEN], dtype=np.float32)
                states.append(hand.astype(np.float32))
                actions.append(action)
                result = simulator.step(sent(*action))
                hand, done = state(simulator, result.obs, task), result.done
                if simulator._completed:  # the next instruction begins
                    first = ""
            solved.append(simulator.get_step_result(result)["completed_subtasks"])
            count = len(actions)
            writer.add_episode(
                np.zeros((count, SIZE, SIZE, 3), dtype=np.uint8),
                np.stack(states),
                np.stack(actions),
                task["name"],
                {INITIAL_STATE: np.full((count, 1), number, dtype=np.float32)},
            )
    write_json(folder / "provenance.json", {"stage": "calvin-demonstrations"})
    return folder, solved


def evaluate(validation, policy, demonstrations, output, **changes):
    """The records of an evaluation with the server, vla-eval and the simulator as processes."""
    simulator = {"params": {"dataset_path": validation}, "render": "cpu", "runs": {"processes": 1}}
    changes = {"episodes": CHAINS, "max_steps": STEPS, "execution_horizon": 5} | changes
    settings = rollout("calvin", policy=policy, model=policy, simulator=simulator, size=SIZE, **changes)
    stage.run(settings, demonstrations=demonstrations, output=output)
    return pq.read_table(output / "episodes.parquet").to_pylist()


def test_recorded_actions_have_the_same_result_through_the_server(validation, recorded, tmp_path):
    folder, solved = recorded
    assert max(solved) >= 1, "no chain begins with a press of the button: record more chains"
    rows = evaluate(validation, "expert", folder, tmp_path)
    assert [row["solved"] for row in rows] == solved
    assert all(row["instruction"].count(" > ") == 4 for row in rows)


def test_random_actions_are_the_floor(validation, recorded, tmp_path):
    rows = evaluate(validation, "random", recorded[0], tmp_path, episodes=2, max_steps=10)
    assert [row["success"] for row in rows] == [False, False]
    assert all(10 <= row["steps"] <= 20 for row in rows)
