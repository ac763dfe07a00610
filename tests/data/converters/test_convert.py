"""Raw datasets of CALVIN and LIBERO, in the format of their authors, become datasets that the stage reads."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from vlm4vla import cli
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.stages.demonstrations_dataset import run

SIDE = 40
CALVIN = [(3, 9, "open the drawer"), (8, 12, "lift the red block"), (20, 25, "open the drawer")]
LIBERO = {
    "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5": ("turn on the stove", (6, 4)),
    "STUDY_SCENE1_pick_up_the_book_demo.hdf5": ("pick up the book", (5,)),
}


def numbered_image(number):
    """An image with a different colour in each corner; the level of blue encodes `number`."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] * 200 // (SIDE - 1)
    return np.stack([rows, columns, np.full_like(rows, 4 * number)], -1).astype(np.uint8)


def calvin_step(step):
    random = np.random.default_rng([step, 6])
    actions = random.uniform(-1, 1, 7)
    actions[6] = 1 if step % 2 else -1
    return {
        "rgb_static": numbered_image(step),
        "rgb_gripper": numbered_image(0),
        "rel_actions": actions,
        "robot_obs": random.normal(size=15),
        "scene_obs": random.normal(size=24),
    }


@pytest.fixture(scope="module")
def calvin(tmp_path_factory):
    root = tmp_path_factory.mktemp("task_ABC_D")
    split = root / "training"
    (split / "lang_annotations").mkdir(parents=True)
    for step in {step for first, last, _ in CALVIN for step in range(first, last + 1)}:
        np.savez_compressed(split / f"episode_{step:07d}.npz", **calvin_step(step))
    annotations = {
        "language": {
            "ann": [text for *_, text in CALVIN],
            "task": ["open_drawer", "lift_red_block_table", "open_drawer"],
            "emb": np.random.default_rng(0).normal(size=(3, 1, 384)).astype(np.float32),
        },
        "info": {"episodes": [], "indx": [(first, last) for first, last, _ in CALVIN]},
    }
    np.save(split / "lang_annotations/auto_lang_ann.npy", annotations, allow_pickle=True)
    return root


def libero_demo(count, seed):
    random = np.random.default_rng(seed)
    actions = random.uniform(-0.9, 0.9, (count, 7))
    actions[:, 6] = np.where(np.arange(count) % 2, 1, -1)
    images = np.stack([numbered_image(number)[::-1, ::-1] for number in range(count)])
    return images, actions, random.normal(size=(count, 6)), random.uniform(0, 0.04, (count, 2))


@pytest.fixture(scope="module")
def libero(tmp_path_factory):
    h5py = pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("libero_10")
    for name, (text, lengths) in LIBERO.items():
        with h5py.File(folder / name, "w") as file:
            data = file.create_group("data")
            data.attrs["problem_info"] = json.dumps({"problem_name": "x", "language_instruction": text})
            # demo_10 is before demo_2 in alphabetical order, but after it in numerical order.
            for number, length in zip((2, 10), lengths, strict=False):
                images, actions, poses, fingers = libero_demo(length, number)
                demo = data.create_group(f"demo_{number}")
                demo["actions"] = actions
                demo["obs/agentview_rgb"] = images
                demo["obs/ee_states"], demo["obs/gripper_states"] = poses, fingers
    return folder


def convert(*words):
    return cli.main(["convert", *map(str, words)])


def index_of(dataset, output, benchmark):
    wanted = Demonstrations(dataset=str(dataset))
    run(DemonstrationsSettings(benchmark=benchmark, demonstrations=wanted, image_size=SIDE), output=output)
    return open_index(output)


@pytest.mark.parametrize("pictures", ["video", "png"])
def test_annotated_ranges_of_calvin_become_episodes(calvin, tmp_path, pictures):
    assert convert("calvin", calvin, "--output", tmp_path / "set", "--pictures", pictures) == 0
    index = index_of(tmp_path / "set", tmp_path / "index", "calvin")
    steps = [step for first, last, _ in CALVIN for step in range(first, last + 1)]
    made = [calvin_step(step) for step in steps]
    np.testing.assert_array_equal(index.actions, np.float32([step["rel_actions"] for step in made]))
    np.testing.assert_array_equal(index.states, np.float32([step["robot_obs"] for step in made]))
    assert index.length.tolist() == [7, 5, 6] and index.fps == 30
    assert [index.tasks[task] for task in index.task_index[[0, 7, 12]]] == [text for *_, text in CALVIN]
    found = FramePictures(index)
    for row, step in enumerate(steps):
        assert np.abs(found.original(row).astype(int) - numbered_image(step)).mean() < (
            4 if pictures == "video" else 0.01
        )
    assert json.loads((tmp_path / "set/meta/info.json").read_text())["total_tasks"] == 2


def test_images_of_libero_are_rotated_and_its_demonstrations_sorted(libero, tmp_path):
    assert convert("libero", libero, "--output", tmp_path / "set") == 0
    index = index_of(tmp_path / "set", tmp_path / "index", "libero-10")
    assert index.length.tolist() == [6, 4, 5]
    assert [index.tasks[task] for task in index.task_index[[0, 6, 10]]] == [
        *["turn on the stove"] * 2,
        "pick up the book",
    ]
    demos = [libero_demo(6, 2), libero_demo(4, 10), libero_demo(5, 2)]
    np.testing.assert_array_equal(index.actions, np.float32(np.concatenate([demo[1] for demo in demos])))
    np.testing.assert_array_equal(index.states[6], np.float32([*demos[1][2][0], *demos[1][3][0]]))
    found = FramePictures(index)
    for row, frame in enumerate((*range(6), *range(4), *range(5))):
        away = np.abs(found.original(row).astype(int) - numbered_image(frame)).mean()
        assert away < 4  # upright and not mirrored


KILLED = """
    import os, signal, sys
    from vlm4vla import cli
    from vlm4vla.data.converters import convert as module
    from vlm4vla.data.lerobot.writer import LeRobotWriter
    module.convert.__kwdefaults__["episodes_per_file"] = 1
    add = LeRobotWriter.add_episode
    def killing(self, *episode):
        if self.done == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return add(self, *episode)
    LeRobotWriter.add_episode = killing
    sys.exit(cli.main({words!r}))
"""


def test_a_killed_conversion_resumes(calvin, tmp_path):
    def once(folder, at):
        words = ["convert", "calvin", str(calvin), "--output", str(folder)]
        script = textwrap.dedent(KILLED.format(words=words, at=at))
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, env=os.environ, timeout=300
        )
        return done.returncode, done.stderr.decode()

    status, errors = once(tmp_path / "one", 99)
    assert status == 0, errors
    assert once(tmp_path / "two", 2)[0] == -signal.SIGKILL
    first = tmp_path / "two/data/chunk-000/file-001.parquet"
    time = first.stat().st_mtime_ns
    assert once(tmp_path / "two", 99)[0] == 0 and first.stat().st_mtime_ns == time
    one, two = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two and len(one) > 8


def failure(capsys, *words):
    assert convert(*words) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    return next(line for line in lines if line.startswith("error: "))


def test_a_complete_dataset_is_not_converted_again(calvin, tmp_path, capsys):
    assert convert("calvin", calvin, "--output", tmp_path / "set") == 0
    assert convert("calvin", calvin, "--output", tmp_path / "set") == 0
    assert "is complete: delete it to convert again" in capsys.readouterr().out


def copy(folder, target):
    for path in folder.rglob("*"):
        if path.is_file():
            link = target / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
    return target


def test_errors_in_calvin_are_one_line(calvin, tmp_path, capsys):
    source, output = copy(calvin, tmp_path / "raw"), tmp_path / "set"
    step = source / "training/episode_0000021.npz"
    step.unlink()
    assert "episode_0000021.npz: not found: copy the complete split" in failure(
        capsys, "calvin", source, "--output", output
    )
    step.write_bytes(b"half")
    assert "episode_0000021.npz: not a complete step of CALVIN" in failure(
        capsys, "calvin", source, "--output", output
    )
    np.savez(step, **(calvin_step(21) | {"rel_actions": np.zeros(6)}))
    assert "rel_actions has the shape (6,), not (7,)" in failure(capsys, "calvin", source, "--output", output)
    np.savez(step, **(calvin_step(21) | {"robot_obs": np.full(15, np.nan)}))
    line = failure(capsys, "calvin", source, "--output", output)
    assert "episode_0000020.npz to episode_0000025.npz: episode 2 has NaN" in line
    assert not (output / "meta/info.json").exists()
    (source / "training/lang_annotations/auto_lang_ann.npy").unlink()
    assert "auto_lang_ann.npy: not found" in failure(capsys, "calvin", source, "--output", tmp_path / "b")
    np.save(source / "training/lang_annotations/auto_lang_ann.npy", {"language": {}}, allow_pickle=True)
    assert "needs language.ann and info.indx" in failure(capsys, "calvin", source, "--output", tmp_path / "c")
    assert "not found: write the folder of the raw dataset" in failure(
        capsys, "calvin", tmp_path / "none", "--output", output
    )


def test_errors_in_libero_are_one_line(libero, tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    name = "STUDY_SCENE1_pick_up_the_book_demo.hdf5"

    def damaged(change):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / name).write_bytes((libero / name).read_bytes())
        with h5py.File(folder / name, "r+") as file:
            change(file)
        return failure(capsys, "libero", folder, "--output", tmp_path / "set")

    def drop(path):
        def change(file):
            del file[path]

        return change

    def silent(file):
        file["data"].attrs["problem_info"] = "{}"

    assert "data/demo_2: has no actions, obs/agentview_rgb" in damaged(drop("data/demo_2/obs/agentview_rgb"))
    assert "contains no data/demo_N" in damaged(drop("data/demo_2"))
    assert "problem_info of data has no language_instruction" in damaged(silent)
    (tmp_path / "x").mkdir()
    assert "contains no .hdf5 file" in failure(capsys, "libero", tmp_path / "x", "--output", tmp_path / "set")
    (tmp_path / "x/a.hdf5").write_bytes(b"half")
    assert "a.hdf5: not a complete HDF5 file" in failure(
        capsys, "libero", tmp_path / "x", "--output", tmp_path / "set"
    )


def test_without_h5py_the_error_names_the_package(libero, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    line = failure(capsys, "libero", libero, "--output", tmp_path / "set")
    assert "needs h5py: install it" in line


def test_images_of_an_odd_size_need_png(tmp_path, capsys, calvin):
    source = copy(calvin, tmp_path / "raw")
    for path in Path(source).rglob("episode_*.npz"):
        step = int(path.stem.removeprefix("episode_"))
        path.unlink()
        np.savez(path, **(calvin_step(step) | {"rgb_static": numbered_image(step)[:39, :39]}))
    assert "write --pictures png" in failure(capsys, "calvin", source, "--output", tmp_path / "set")
    assert convert("calvin", source, "--output", tmp_path / "set", "--pictures", "png") == 0
