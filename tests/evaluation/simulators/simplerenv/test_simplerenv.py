"""The real SimplerEnv: the effect of actions on WidowX, and recorded actions through the policy server."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial.transform import Rotation
from simulator_examples import protocol, rollout

from vlm4vla.conventions.simulators import KNOWN
from vlm4vla.core.artefacts import write_json
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.evaluation.simulators.conversions import ActionConverter, GripperRule
from vlm4vla.evaluation.simulators.episodes import benchmark_entries
from vlm4vla.evaluation.simulators.served_policies import INITIAL_STATE
from vlm4vla.stages import rollout as stage

TASK, STEPS, SIZE = "widowx_carrot_on_plate", 60, 64
OPEN, CLOSED = 1.0, 0.0  # of the Bridge dataset
STATES = 6  # number of recorded initial states
STATE_NAMES = ("x", "y", "z")


@pytest.fixture(scope="module")
def evaluation():
    return protocol("bridge", {"tasks": {TASK: STEPS}, "params": {}}, episodes=STATES)


@pytest.fixture(scope="module")
def simulator(simplerenv, evaluation):
    """vla-eval's adapter, created as in an evaluation."""
    from vla_eval.recording import NullEpisodeRecorder
    from vla_eval.registry import resolve_import_string

    made = resolve_import_string(KNOWN["simplerenv"].adapter)(**benchmark_entries(evaluation)[0].params)
    made._recorder = NullEpisodeRecorder()  # vla-eval sets a recorder for every episode
    yield made
    made.cleanup()


class Hand:
    """WidowX, moved as the policy server moves it, from the initial state `number` of the task."""

    def __init__(self, simulator, evaluation, number=1):
        self.simulator = simulator
        self.task = {**simulator.get_tasks()[0], "episode_idx": number}
        self.raw = simulator.reset(self.task)
        self.scene = simulator._env.unwrapped
        self.done = self.over = False
        self._convert = ActionConverter("bridge", evaluation.simulator)
        self._rule = GripperRule(evaluation.simulator.gripper_rule)
        self._rule.reset("")

    def act(self, action, times=1):
        """Execute a policy's action (7,)."""
        for _ in range(times):
            sent = self._rule("", self._convert(np.array(action, dtype=np.float32))[None])[0]
            result = self.simulator.step({"actions": sent})
            self.raw, self.done, self.over = result.obs, result.done, result.info["truncated"]

    def pose(self, thing=None):
        """Position (3,) in metres and rotation of the gripper, or of `thing`, in the frame of the robot."""
        found = self.scene.agent.robot.pose.inv() * (thing or self.scene.tcp).pose
        return np.array(found.p), Rotation.from_quat(found.q[[1, 2, 3, 0]])

    def width(self):
        """Distance between a finger and the middle of the gripper, in metres."""
        return self.scene.agent.robot.get_qpos()[-1]


@pytest.fixture
def hand(simulator, evaluation):
    return Hand(simulator, evaluation)


def test_the_gripper_opens_at_plus_one(hand):
    widths = {}
    for command in (CLOSED, OPEN):
        hand.act([0, 0, 0, 0, 0, 0, command], 8)
        widths[command] = hand.width()
    assert widths[OPEN] > 0.035 and widths[CLOSED] < 0.02


def test_the_gripper_opens_at_the_second_prediction(hand):
    hand.act([0, 0, 0, 0, 0, 0, CLOSED], 8)
    shut = hand.width()
    hand.act([0, 0, 0, 0, 0, 0, OPEN])
    assert hand.width() == pytest.approx(shut, abs=0.001)
    hand.act([0, 0, 0, 0, 0, 0, OPEN])
    assert hand.width() > shut + 0.003


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_motion_is_in_metres(hand, axis):
    before, _ = hand.pose()
    action = np.zeros(7)
    action[axis], action[6] = 0.02, OPEN
    hand.act(action, 3)
    hand.act([0, 0, 0, 0, 0, 0, OPEN], 3)  # the gripper reaches its target
    expected = np.zeros(3)
    expected[axis] = 0.06
    np.testing.assert_allclose(hand.pose()[0] - before, expected, atol=0.008)


def test_euler_angles_give_the_same_rotation(hand):
    """The angles are large, so that they differ from the rotation vector by a tenth of a radian."""
    angles = np.array([0.4, 0.2, 0.6])
    wanted = Rotation.from_euler("xyz", angles)
    assert np.abs(wanted.as_rotvec() - angles).max() > 0.09
    _, before = hand.pose()
    hand.act([0, 0, 0.03, *angles, OPEN])
    hand.act([0, 0, 0, 0, 0, 0, OPEN], 6)
    turned = hand.pose()[1] * before.inv()
    assert (turned * wanted.inv()).magnitude() < 0.06


def test_images_are_upright(hand):
    """The carrot is where the camera matrices project it. Rows are counted from the top."""
    image = hand.simulator.make_obs(hand.raw, hand.task)["images"]["primary"].astype(int)
    assert image.shape == (480, 640, 3)
    camera = hand.raw["camera_param"]["3rd_view_camera"]
    seen = camera["extrinsic_cv"][:3] @ [*hand.scene.episode_source_obj.pose.p, 1]
    across, down, _ = camera["intrinsic_cv"] @ (seen / seen[2])
    red, green, blue = np.moveaxis(image, -1, 0)
    orange = (red > 200) & (green > 80) & (green < 170) & (blue < 80)
    assert orange.sum() > 200
    np.testing.assert_allclose(np.argwhere(orange).mean(axis=0), [down, across], atol=15)


@pytest.mark.parametrize(
    "name, instruction",
    [
        ("widowx_carrot_on_plate", "put carrot on plate"),
        ("widowx_spoon_on_towel", "put the spoon on the towel"),
        ("widowx_stack_cube", "stack the green block on the yellow block"),
        ("widowx_put_eggplant_in_basket", "put eggplant into yellow basket"),
    ],
)
def test_the_four_tasks_begin(simplerenv, name, instruction):
    """Each task has 24 different initial states, selected by their number."""
    positions = []
    for number in (0, 23):
        environment = simplerenv.make(name)
        try:
            environment.reset(options={"obj_init_options": {"episode_id": number}})
        except RuntimeError as error:  # SAPIEN raises it for a missing file of the scene
            pytest.skip(f"a file of the scene of {name} is missing: {error}")
        assert environment.unwrapped.get_language_instruction() == instruction
        positions.append(environment.unwrapped.episode_source_obj.pose.p)
        environment.close()
    assert np.abs(positions[0] - positions[1]).max() > 0.01


class PutOnPlate:
    """Actions that put the carrot on the plate. The gripper first turns by 90 degrees if necessary."""

    def __init__(self, hand):
        carrot, turn = hand.pose(hand.scene.episode_source_obj)
        plate, _ = hand.pose(hand.scene.episode_target_obj)
        axis = turn.apply([1, 0, 0])  # of the carrot
        self._hand, self._turns = hand, 5 if abs(axis[0]) < abs(axis[1]) else 0
        up = np.array([0, 0, 0.12])
        self._plan = [  # target, gripper, maximum number of steps
            (carrot + up, OPEN, 12),
            (carrot + [0, 0, 0.002], OPEN, 10),
            (None, CLOSED, 4),
            (carrot + up, CLOSED, 8),
            (plate + up, CLOSED, 10),
            (plate + [0, 0, 0.045], CLOSED, 8),
            (None, OPEN, 4),
            (plate + up, OPEN, STEPS),
        ]

    def __iter__(self):
        for goal, fingers, steps in self._plan:
            for _ in range(steps):
                left = np.zeros(3) if goal is None else goal - self._hand.pose()[0]
                if goal is not None and np.linalg.norm(left) < 0.012:
                    break
                yaw = np.pi / 10 if self._turns > 0 else 0.0
                self._turns -= 1
                yield np.array([*np.clip(0.6 * left, -0.04, 0.04), 0, 0, yaw, fingers], dtype=np.float32)
        while True:
            yield np.array([0, 0, 0, 0, 0, 0, OPEN], dtype=np.float32)


@pytest.fixture(scope="module")
def recorded(simulator, evaluation, tmp_path_factory):
    """A dataset of the script from the first initial states, and whether each episode was solved."""
    folder, solved = tmp_path_factory.mktemp("simplerenv"), []
    with LeRobotWriter(
        folder,
        fps=5,
        robot_type="widowx",
        image_size=SIZE,
        state_names=STATE_NAMES,
        extra_columns={INITIAL_STATE: ("index",)},
    ) as writer:
        for number in range(STATES):
            hand = Hand(simulator, evaluation, number)
            states, actions, script = [], [], iter(PutOnPlate(hand))
            while not hand.over:
                states.append(hand.pose()[0].astype(np.float32))
                actions.append(next(script))
                hand.act(actions[-1])
            solved.append(bool(hand.done))
            assert len(actions) == STEPS
            writer.add_episode(
                np.zeros((STEPS, SIZE, SIZE, 3), dtype=np.uint8),
                np.stack(states),
                np.stack(actions),
                TASK,
                {INITIAL_STATE: np.full((STEPS, 1), number, dtype=np.float32)},
            )
    write_json(folder / "provenance.json", {"stage": "simplerenv-demonstrations"})
    return folder, solved


def evaluate(policy, demonstrations, output, simulator=None, **changes):
    """The records of an evaluation with the server, vla-eval and the simulator as processes."""
    own = {"tasks": {TASK: STEPS}, "params": {}, "runs": {"processes": 1, "start_s": 300}} | (simulator or {})
    changes = {"episodes": STATES} | changes
    settings = rollout("bridge", policy=policy, model=policy, simulator=own, size=SIZE, **changes)
    stage.run(settings, demonstrations=demonstrations, output=output)
    return pq.read_table(output / "episodes.parquet").to_pylist()


def test_the_script_puts_the_carrot_on_the_plate(recorded):
    assert sum(recorded[1]) >= 2, recorded[1]


def test_recorded_actions_have_the_same_result_through_the_server(recorded, tmp_path):
    folder, solved = recorded
    rows = evaluate("expert", folder, tmp_path)
    assert [row["success"] for row in rows] == solved
    assert {row["steps"] for row in rows} == {STEPS}  # success is measured at the last step
    assert {row["instruction"] for row in rows} == {"put carrot on plate"}


def test_success_at_any_step_ends_an_episode(recorded, tmp_path):
    folder, solved = recorded
    rows = evaluate("expert", folder, tmp_path, {"success": "any-step"})
    for row, done in zip(rows, solved, strict=True):
        assert row["success"] or not done
        assert (row["steps"] < STEPS) == row["success"]


def test_random_actions_are_the_floor(recorded, tmp_path):
    rows = evaluate("random", recorded[0], tmp_path, episodes=2)
    assert [row["success"] for row in rows] == [False, False]
