"""Raw datasets whose annotations are lists, blank or missing: texts, refusals, and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from vlm4vla import cli

RANGES = [(0, 5), (8, 11), (20, 26)]


def write_split(root, texts, ranges=RANGES):
    """Write a CALVIN split whose ranges of steps have the annotations `texts`."""
    split = root / "training"
    (split / "lang_annotations").mkdir(parents=True)
    for step in {step for first, last in RANGES for step in range(first, last + 1)}:
        random = np.random.default_rng(step)
        np.savez(
            split / f"episode_{step:07d}.npz",
            rgb_static=np.full((16, 16, 3), step, dtype=np.uint8),
            rel_actions=np.append(random.uniform(-1, 1, 6), 1.0 if step % 2 else -1.0),
            robot_obs=random.normal(size=15),
        )
    content = {"language": {"ann": texts}, "info": {"indx": ranges}}
    np.save(split / "lang_annotations/auto_lang_ann.npy", content, allow_pickle=True)
    return root


def convert(kind, source, output, *options):
    return cli.main(["convert", kind, str(source), "--output", str(output), "--pictures", "png", *options])


def tasks_of(folder):
    table = pq.read_table(folder / "meta/tasks.parquet")
    return dict(zip(table["task_index"].to_pylist(), table["task"].to_pylist(), strict=True))


WORDS = ["open the drawer", "push it", "open the drawer"]


@pytest.mark.parametrize(
    "texts",
    [
        WORDS,
        [f" {text}\n" for text in WORDS],
        [[text] for text in WORDS],
        [np.array([text]) for text in WORDS],
        np.array([[text] for text in WORDS]),
        np.array(WORDS, dtype=object),
        [[text, "", text] for text in WORDS],
    ],
)
def test_annotations_that_hold_one_text_each(tmp_path, capsys, texts):
    assert convert("calvin", write_split(tmp_path / "raw", texts), tmp_path / "set") == 0
    assert tasks_of(tmp_path / "set") == {0: "open the drawer", 1: "push it"}
    assert "left out" not in capsys.readouterr().out
    assert not (tmp_path / "set/meta/left_out.json").exists()


@pytest.mark.parametrize("blank", ["", "  ", None, [], [""], float("nan"), 7, "\u200b"])
@pytest.mark.parametrize("number", [0, 2])
def test_blank_annotations_are_refused_or_left_out(tmp_path, capsys, blank, number):
    texts = [blank if place == number else text for place, text in enumerate(["lift", "push", "pull"])]
    source = write_split(tmp_path / "raw", texts)
    first, last = RANGES[number]
    frames = last - first + 1
    assert convert("calvin", source, tmp_path / "set") == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error
    assert f"auto_lang_ann.npy: annotation {number} (steps {first} to {last}) has no instruction" in error
    assert f"1 episode ({frames} frames) with --leave-out-blank" in error
    assert convert("calvin", source, tmp_path / "set", "--leave-out-blank") == 0
    sentence = f"left out 1 episode ({frames} frames) without an instruction"
    assert sentence in capsys.readouterr().out
    assert json.loads((tmp_path / "set/meta/left_out.json").read_text())["instructions"] == sentence
    kept = [text for place, text in enumerate(("lift", "push", "pull")) if place != number]
    assert list(tasks_of(tmp_path / "set").values()) == kept
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["total_episodes"] == 2 and info["total_frames"] == 17 - frames


def test_two_different_texts_for_one_range_are_refused(tmp_path, capsys):
    source = write_split(tmp_path / "raw", ["lift", ["push it", "slide it"], "pull"])
    assert convert("calvin", source, tmp_path / "set", "--leave-out-blank") == 1
    error = capsys.readouterr().err
    assert "annotation 1 (steps 8 to 11): has 2 different instructions ['push it', 'slide it']" in error


@pytest.mark.parametrize("texts", [["", None, []], [[], [], []]])
def test_a_split_without_any_instruction_is_one_line(tmp_path, capsys, texts):
    source = write_split(tmp_path / "raw", texts)
    assert convert("calvin", source, tmp_path / "set", "--leave-out-blank") == 1
    assert "auto_lang_ann.npy: has no instruction" in capsys.readouterr().err


def test_a_range_that_ends_before_it_begins_names_its_annotation(tmp_path, capsys):
    source = write_split(tmp_path / "raw", ["lift", "push", "pull"], [(0, 5), (11, 8), (20, 26)])
    assert convert("calvin", source, tmp_path / "set") == 1
    assert "annotation 1 (steps 11 to 8): the range ends before it begins" in capsys.readouterr().err


@pytest.mark.parametrize("blank", ["", " ", '""', None, ["", ""]])
def test_a_libero_task_without_an_instruction(tmp_path, capsys, blank):
    h5py = pytest.importorskip("h5py")
    source = tmp_path / "raw"
    source.mkdir()
    for name, text in (("one", "turn on the stove"), ("two", blank)):
        with h5py.File(source / f"{name}.hdf5", "w") as file:
            data = file.create_group("data")
            data.attrs["problem_info"] = json.dumps({"language_instruction": text})
            for number in range(2):
                demo = data.create_group(f"demo_{number}")
                demo["actions"] = np.ones((3 + number, 7))
                demo["obs/agentview_rgb"] = np.zeros((3 + number, 16, 16, 3), dtype=np.uint8)
                demo["obs/ee_states"] = np.zeros((3 + number, 6))
                demo["obs/gripper_states"] = np.zeros((3 + number, 2))
    assert convert("libero", source, tmp_path / "set") == 1
    error = capsys.readouterr().err
    assert "two.hdf5 has no instruction" in error and "leave out 2 episodes (7 frames)" in error
    assert convert("libero", source, tmp_path / "set", "--leave-out-blank") == 0
    assert "left out 2 episodes (7 frames) without an instruction" in capsys.readouterr().out
    assert tasks_of(tmp_path / "set") == {0: "turn on the stove"}


@pytest.mark.parametrize("texts", ["abc", {"a": 1, "b": 2, "c": 3}, 3, None])
def test_annotations_that_are_no_list_are_refused(tmp_path, capsys, texts):
    """Three letters would be three instructions."""
    assert convert("calvin", write_split(tmp_path / "raw", texts), tmp_path / "set") == 1
    assert "auto_lang_ann.npy: needs language.ann and info.indx" in capsys.readouterr().err


@pytest.mark.parametrize("end", [float("inf"), float("nan"), 5.5, "x", None])
def test_steps_that_are_no_whole_numbers_are_refused(tmp_path, capsys, end):
    source = write_split(tmp_path / "raw", WORDS, [(0, end), *RANGES[1:]])
    assert convert("calvin", source, tmp_path / "set") == 1
    error = capsys.readouterr().err.strip()
    assert "auto_lang_ann.npy: needs language.ann and info.indx" in error and "\n" not in error


def test_an_image_of_another_size_names_its_step(tmp_path, capsys):
    source = write_split(tmp_path / "raw", WORDS)
    path = source / "training/episode_0000003.npz"
    with np.load(path) as file:
        step = dict(file) | {"rgb_static": np.zeros((20, 20, 3), dtype=np.uint8)}
    np.savez(path, **step)
    assert convert("calvin", source, tmp_path / "set") == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "episode_0000003.npz: rgb_static has the shape (20, 20, 3), but (16, 16, 3)" in error
