"""Samples of every auxiliary task, compared with the state of the simulator."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vlm4vla.auxiliary.lookup import get_task
from vlm4vla.auxiliary.points import read_point_words
from vlm4vla.auxiliary.tasks.pictures import frames
from vlm4vla.auxiliary.tasks.robo2vlm import LETTERS
from vlm4vla.auxiliary.tasks.vica import extent
from vlm4vla.benchmarks.painter import FIXTURES
from vlm4vla.benchmarks.props import PROPS
from vlm4vla.benchmarks.scene import Layout, mjcf, slug
from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import TASKS

COUNT = 40


@pytest.fixture(scope="module")
def made():
    return {name: list(get_task(name).pictures("train", COUNT, 0, 64)) for name in TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_pictures_are_complete_and_follow_the_seed(made, name):
    pictures = made[name]
    assert len(pictures) == COUNT
    for picture in pictures:
        assert picture.image.shape == (64, 64, 3) and picture.image.dtype == np.uint8
        assert picture.statements and {s.set for s in picture.statements} == {name}
    again = list(get_task(name).pictures("train", 3, 0, 64))
    for picture, other in zip(pictures, again, strict=False):
        np.testing.assert_array_equal(picture.image, other.image)
        assert picture.statements == other.statements


@pytest.mark.parametrize("name", TASKS)
def test_held_out_pictures_differ_from_training_pictures(made, name):
    held_out = list(get_task(name).pictures("held_out", COUNT, 0, 64))
    seen = {picture.image.tobytes() for picture in made[name]}
    assert not seen & {picture.image.tobytes() for picture in held_out}


def test_an_unknown_task_raises_with_a_suggestion():
    with pytest.raises(UserError, match="did you mean 'robopoint'"):
        get_task("robopoints")


def test_robopoint_lists_the_things_of_the_scene(made):
    kinds = 0
    for picture in made["robopoint"]:
        for statement in picture.statements:
            points = read_point_words(statement.answer)
            one = re.fullmatch(r"point to the (.+)", statement.question)
            every = re.fullmatch(r"point to every (.+)", statement.question)
            if one:
                wanted = [picture.places[one[1]]]
            elif every:
                wanted = [at for n, at in picture.places.items() if n in PROPS and PROPS[n].noun == every[1]]
                kinds += len(wanted) > 1
            else:
                side, name = re.fullmatch(
                    r"point to what is (left|right) of the (.+)", statement.question
                ).groups()
                sign = 1 if side == "right" else -1
                others = [n for n in picture.places if n not in ("gripper", "shadow", name)]
                column = picture.places[name][0]
                wanted = [picture.places[n] for n in others if sign * (picture.places[n][0] - column) > 0.06]
            assert len(points) == len(wanted)
            for at in wanted:
                assert min(np.hypot(p[0] - at[0], p[1] - at[1]) for p in points) < 0.05
    assert kinds


def test_sizes_equal_the_bounding_boxes_of_mujoco():
    import mujoco  # after vlm4vla.benchmarks, which selects the OpenGL backend

    names = tuple(PROPS)
    model = mujoco.MjModel.from_xml_string(mjcf(Layout(names, frozen=True)))
    data = mujoco.MjData(model)
    for name in names:
        body = model.body(slug(name))
        data.mocap_pos[body.mocapid[0]] = 0
    mujoco.mj_forward(model, data)
    for name in names:
        body = model.body(slug(name))
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for geom in range(body.geomadr[0], body.geomadr[0] + body.geomnum[0]):
            rotation = data.geom_xmat[geom].reshape(3, 3)
            centre, half = model.geom_aabb[geom][:3], model.geom_aabb[geom][3:]
            corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T * half + centre
            placed = corners @ rotation.T + data.geom_xpos[geom]
            low, high = np.minimum(low, placed.min(0)), np.maximum(high, placed.max(0))
        np.testing.assert_allclose(extent(name), high - low, atol=1e-4, err_msg=name)


def test_distances_and_sides_agree_with_the_positions(made):
    checked = set()
    for picture in made["vica-332k"]:
        for statement in picture.statements:
            far = re.fullmatch(r"how far is the (.+) from the (.+) in centimetres \?", statement.question)
            left = re.fullmatch(r"is the (.+) left of the (.+) \?", statement.question)
            near = re.fullmatch(r"which is nearer to the (.+) the (.+) or the (.+) \?", statement.question)
            ground = picture.ground
            if far:
                away = np.linalg.norm((ground[far[1]] - ground[far[2]])[:2])
                assert abs(int(statement.answer) - 100 * away) <= 1
            elif left:
                assert (statement.answer == "yes") == (ground[left[1]][0] < ground[left[2]][0])
            elif near:
                c, a, b = near.groups()
                gaps = [np.linalg.norm((ground[n] - ground[c])[:2]) for n in (a, b)]
                assert statement.answer == (a, b)[int(np.argmin(gaps))]
            checked.add(("far", far is not None) if far else ("left", True) if left else ("near", True))
    assert {("far", True), ("left", True), ("near", True)} <= checked


def test_bridgevqa_agrees_with_the_frame(made):
    nearer = 0
    for picture in made["bridgevqa"]:
        hand = picture.ground["gripper"]
        for statement in picture.statements:
            found = re.fullmatch(
                r"which is nearer to the gripper the (.+) or the (.+) \?", statement.question
            )
            where = re.fullmatch(r"where is the (.+) \?", statement.question)
            if found:
                gaps = [np.linalg.norm((picture.ground[n] - hand)[:2]) for n in found.groups()]
                assert statement.answer == found[1 + int(np.argmin(gaps))]
                nearer += 1
            elif where and where[1] in picture.places:
                row, column = divmod(int(statement.answer[4:6]), 8)
                at = picture.places[where[1]]
                assert int(8 * at[0]) == column and int(8 * at[1]) == row
    assert nearer


def test_robo2vlm_answers_follow_states_and_actions():
    seen = set()

    def check(rng, frame):
        from vlm4vla.auxiliary.tasks.robo2vlm import ask_choices

        questions = ask_choices(
            rng, frame, ["put the carrot on the plate", "put the spoon on the towel", frame.instruction]
        )
        state, action = frame.recording.states[frame.step], frame.recording.actions[frame.step]
        for question, letter in questions:
            options = dict(re.findall(r"(\([abcd]\)) (.+?)(?= \([abcd]\)| \?)", question))
            answer = options[letter]
            if question.startswith("which phase"):
                held, opens = state[7] > 0.5, action[6] > 0.5
                table = {(0, 1): "approach", (0, 0): "grasp", (1, 0): "carry", (1, 1): "release"}
                assert answer == table[int(held), int(opens)]
                seen.add(answer)
            elif question.startswith("does"):
                assert answer == ("yes" if state[7] > 0.5 else "no")
            elif question.startswith("which goal"):
                assert answer == frame.instruction
            else:
                axis = int(np.argmax(np.abs(action[:3])))
                assert (
                    answer
                    == (("left", "right"), ("front", "back"), ("down", "up"))[axis][int(action[axis] > 0)]
                )
        return questions

    pictures = list(frames("robo2vlm", check, "train", 60, 0, 64, ("bridge",), every=1))
    assert seen >= {"approach", "grasp", "carry"}
    assert {s.answer for p in pictures for s in p.statements} == set(LETTERS)


def test_robobrain_plans_and_marks_the_later_steps():
    plans = marks = 0

    def check(rng, frame):
        nonlocal plans, marks
        from vlm4vla.auxiliary.tasks.robobrain import ask

        questions = ask(rng, frame)
        for question, answer in questions:
            if question.startswith("what is to do"):
                parts = answer.split(" then ")
                assert 1 <= len(parts) <= 2
                if len(parts) == 2 and parts[1].startswith("put"):  # its prop moves last
                    prop = max((n for n in PROPS if parts[1].startswith(f"put {n} ")), key=len)
                    ends = [frame.recording.annotations[i][0][prop] for i in (frame.step, -1)]
                    assert np.linalg.norm(ends[1] - ends[0]) > 0.05
                    plans += 1
            elif question.startswith("mark"):
                for (column, row), steps in zip(read_point_words(answer), (2, 4, 6), strict=True):
                    at = frame.recording.annotations[frame.step + steps][1]["gripper"]
                    assert abs(column - at[0]) <= 1 / 32 + 1e-6 and abs(row - at[1]) <= 1 / 32 + 1e-6
                    marks += 1
        return questions

    list(frames("robobrain2", check, "train", 60, 0, 64, ("libero-10",)))
    assert plans and marks


def test_frames_name_known_things(made):
    for picture in made["bridgevqa"]:
        assert set(picture.ground) <= set(PROPS) | set(FIXTURES.values()) | {"gripper"}


def test_score_of_lengths():
    score = get_task("vica-332k").score
    assert score("20", "20") == 1 and score("10", "20") == 0.5 and score("yes", "20") == 0
    assert score("60", "20") == 0 and score("yes", "yes") == 1 and score("no", "yes") == 0
