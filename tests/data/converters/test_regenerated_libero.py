"""LIBERO files that were made again: no instruction, gaps in the numbers, nothing left of some tasks."""

import json

import numpy as np
import pytest

from vlm4vla import cli
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.stages.demonstrations_dataset import run

h5py = pytest.importorskip("h5py")
KITCHEN = "KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet_and_close_it_demo.hdf5"


def picture(number, side):
    """An image whose four quarters differ, as a viewer sees it."""
    image = np.zeros((side, side, 3), dtype=np.uint8)
    half = side // 2
    image[:half, :half], image[:half, half:], image[half:, :half] = 200, (200, 0, 0), (0, 200, 0)
    image[half:, half:, 2] = 4 * number
    return image


def write_demo(data, number, count=5, side=32, split_pose=False):
    """A demonstration with the arrays of the script. MuJoCo's images are upside down."""
    demo, random = data.create_group(f"demo_{number}"), np.random.default_rng(number)
    actions = random.uniform(-1, 1, (count, 7))
    actions[:, 6] = np.resize([-1, 1], count)
    pose = random.normal(size=(count, 6))
    demo["actions"] = actions
    observed = demo.create_group("obs")
    observed["agentview_rgb"] = np.stack([picture(n, side)[::-1, ::-1] for n in range(count)])
    observed["ee_pos"], observed["ee_ori"] = pose[:, :3], pose[:, 3:]
    observed["gripper_states"] = random.uniform(0, 0.04, (count, 2))
    observed["joint_states"] = random.normal(size=(count, 7))
    if not split_pose:
        observed["ee_states"] = pose
    demo["dones"] = np.arange(count) == count - 1
    demo.attrs["source_episode_length"] = count + 3
    return actions, np.concatenate([pose, observed["gripper_states"]], axis=1)


def write_file(path, demos, said=None, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as content:
        content.attrs["noop_filtered"] = True
        data = content.create_group("data")
        if said is not None:
            data.attrs["problem_info"] = json.dumps({"language_instruction": said})
        return [write_demo(data, number, **how) for number in demos]


def convert(source, output):
    return cli.main(["convert", "libero", str(source), "--output", str(output), "--pictures", "png"])


def index(dataset, output):
    wanted = Demonstrations(dataset=str(dataset))
    run(DemonstrationsSettings(benchmark="libero-10", demonstrations=wanted, image_size=32), output=output)
    return open_index(output)


def failure(capsys, source, output):
    assert convert(source, output) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and not (output / "meta/info.json").exists()
    return lines[0]


@pytest.mark.parametrize("side", [128, 256])
@pytest.mark.parametrize("split_pose", [False, True])
def test_the_instruction_is_the_name_of_the_file(tmp_path, side, split_pose):
    made = write_file(tmp_path / "raw" / KITCHEN, (0, 3, 11), side=side, split_pose=split_pose)
    assert convert(tmp_path / "raw", tmp_path / "set") == 0
    found = index(tmp_path / "set", tmp_path / "index")
    assert found.tasks == ["put the black bowl in the bottom drawer of the cabinet and close it"]
    np.testing.assert_array_equal(found.actions, np.float32(np.concatenate([each[0] for each in made])))
    np.testing.assert_array_equal(found.states, np.float32(np.concatenate([each[1] for each in made])))
    images = FramePictures(found)
    for row in (0, 4, 7):
        np.testing.assert_array_equal(images.original(row), picture(row % 5, side))
    assert not (tmp_path / "set/meta/left_out.json").exists()  # nothing was left out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pick_up_the_alphabet_soup_and_place_it_in_the_basket_demo.hdf5",
         "pick up the alphabet soup and place it in the basket"),
        ("LIVING_ROOM_SCENE2_put_both_the_soup_and_the_box_in_the_basket_demo.hdf5",
         "put both the soup and the box in the basket"),
        ("KITCHEN_SCENE10_close_the_top_drawer_demo.hdf5", "close the top drawer"),
        ("STUDY_SCENE1_pick_up_the_book.hdf5", "pick up the book"),
    ],
)  # fmt: skip
def test_names_of_all_suites(tmp_path, name, words):
    write_file(tmp_path / name, (1,))
    assert convert(tmp_path / name, tmp_path / "set") == 0
    assert index(tmp_path / "set", tmp_path / "index").tasks == [words]


@pytest.mark.parametrize("name", [
    "data.hdf5", "one_demo.hdf5", "libero_10.hdf5", "KITCHEN_SCENE3_demo.hdf5",
    # A text made of these names would have words that are not the instruction's.
    "KITCHEN_SCENE4 close the drawer_demo.hdf5", "KITCHEN_SCENE4_close_the_drawer_demo (1).hdf5",
    "kitchen_scene4_close_the_drawer_demo.hdf5", "KITCHEN_SCENE4_close_the_drawer_demo_demo.hdf5",
])  # fmt: skip
def test_other_names_state_no_instruction(tmp_path, capsys, name):
    write_file(tmp_path / name, (0,))
    line = failure(capsys, tmp_path / name, tmp_path / "set")
    assert f"{name}: data has no attribute problem_info" in line and "_demo.hdf5" in line


def test_an_instruction_in_the_file_is_preferred(tmp_path):
    write_file(tmp_path / KITCHEN, (0,), said="close the drawer")
    assert convert(tmp_path / KITCHEN, tmp_path / "set") == 0
    assert index(tmp_path / "set", tmp_path / "index").tasks == ["close the drawer"]


def empty(path, number, shape):
    with h5py.File(path, "a") as content:
        demo = content["data"].create_group(f"demo_{number}")
        if shape is not None:
            for key in ("actions", "obs/agentview_rgb", "obs/ee_states", "obs/gripper_states"):
                demo[key] = np.zeros(shape)


def test_what_has_no_steps_is_left_out_and_told(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_file(raw / "turn_on_the_stove_demo.hdf5", (4, 6))
    empty(raw / "turn_on_the_stove_demo.hdf5", 5, (0, 7))
    empty(raw / "turn_on_the_stove_demo.hdf5", 7, None)  # a group without arrays
    write_file(raw / "push_the_plate_demo.hdf5", ())  # every demonstration failed
    write_file(raw / "open_the_drawer_demo.hdf5", ())
    for number in range(3):
        empty(raw / "open_the_drawer_demo.hdf5", number, (0,))
    assert convert(raw, tmp_path / "set") == 0
    said = {
        "open_the_drawer_demo.hdf5": "left out 3 of 3 demonstrations, which have no steps",
        "push_the_plate_demo.hdf5": "left out the task, which has no demonstrations",
        "turn_on_the_stove_demo.hdf5": "left out 2 of 4 demonstrations, which have no steps",
    }
    out = capsys.readouterr().out
    assert all(f"note: {raw}: {name}: {words}" in out for name, words in said.items())
    assert json.loads((tmp_path / "set/meta/left_out.json").read_text()) == said
    found = index(tmp_path / "set", tmp_path / "index")
    assert found.length.tolist() == [5, 5] and found.tasks == ["turn on the stove"]
    record = json.loads((tmp_path / "index/provenance.json").read_text())
    assert "meta/left_out.json" in record["source"]["files"]


def test_if_nothing_is_left_there_is_one_error(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_file(raw / "push_the_plate_demo.hdf5", ())
    write_file(raw / "open_the_drawer_demo.hdf5", ())
    empty(raw / "open_the_drawer_demo.hdf5", 0, (0, 7))
    line = failure(capsys, raw, tmp_path / "set")
    assert f"{raw}: contains no data/demo_N with steps and an instruction, in 2 files" in line


def test_a_damaged_demonstration_is_not_taken_for_an_empty_one(tmp_path, capsys):
    for number, missing in enumerate(("actions", "obs/agentview_rgb", "obs/gripper_states", "obs/ee_pos")):
        raw = tmp_path / str(number) / "turn_on_the_stove_demo.hdf5"
        write_file(raw, (0, 1), split_pose=True)
        with h5py.File(raw, "a") as content:
            del content["data/demo_1"][missing]
        line = failure(capsys, raw, tmp_path / "set")
        assert "data/demo_1: has no actions, obs/agentview_rgb, obs/ee_states" in line
        (tmp_path / "set").rename(tmp_path / f"set-{number}")


def test_a_file_that_is_not_of_libero_is_named(tmp_path, capsys):
    write_file(tmp_path / "raw/turn_on_the_stove_demo.hdf5", (0,))
    with h5py.File(tmp_path / "raw/notes_on_tasks_demo.hdf5", "w") as content:
        content["language_instruction"] = "turn on the stove"
    line = failure(capsys, tmp_path / "raw", tmp_path / "set")
    assert "notes_on_tasks_demo.hdf5: contains no data/demo_N" in line


def test_images_of_two_sizes_are_refused(tmp_path, capsys):
    write_file(tmp_path / "raw/push_the_plate_demo.hdf5", (0,), side=32)
    write_file(tmp_path / "raw/turn_on_the_stove_demo.hdf5", (0,), side=64)
    line = failure(capsys, tmp_path / "raw", tmp_path / "set")
    assert "turn_on_the_stove_demo.hdf5: data/demo_0: images must be (5, 32, 32, 3) uint8" in line


@pytest.mark.parametrize("said", [list("open it"), ["open it"], ["open it", "open it"], ' "open it" '])
def test_texts_that_are_stored_as_lists(tmp_path, said):
    write_file(tmp_path / KITCHEN, (0,), said=said)
    assert convert(tmp_path / KITCHEN, tmp_path / "set") == 0
    assert index(tmp_path / "set", tmp_path / "index").tasks == ["open it"]


def test_a_list_of_words_is_not_joined(tmp_path, capsys):
    write_file(tmp_path / KITCHEN, (0,), said=["turn", "on", "the", "stove"])
    assert "no language_instruction that is one text" in failure(capsys, tmp_path / KITCHEN, tmp_path / "set")


def test_a_folder_without_any_instruction_is_one_line(tmp_path, capsys):
    write_file(tmp_path / KITCHEN, (0, 1), said=" ")
    line = failure(capsys, tmp_path / KITCHEN, tmp_path / "set")
    assert f"{KITCHEN}: no file has an instruction, for 2 episodes (10 frames)" in line


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("data", "contains no data/demo_N"),
        ("data/demo_1", "data/demo_1: has no actions, obs/agentview_rgb"),
        ("data/demo_1/obs", "data/demo_1: has no actions, obs/agentview_rgb"),
        ("data/demo_1/actions", "data/demo_1: has no actions, obs/agentview_rgb"),
    ],
)
def test_an_array_in_place_of_a_group(tmp_path, capsys, place, line):
    path = tmp_path / KITCHEN
    write_file(path, (0, 1))
    with h5py.File(path, "a") as content:
        del content[place]
        content[place] = np.float32(1)
    assert line in failure(capsys, path, tmp_path / "set")
