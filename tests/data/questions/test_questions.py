"""Question sets that `datasets` has written are read back."""

import datasets
import numpy as np
import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.statements import Statement

FEATURES = datasets.Features(
    {
        "image": datasets.Value("binary"),
        "statements": [{name: datasets.Value("string") for name in ("set", "question", "answer")}],
        "scene": datasets.Value("int64"),
    }
)


def rows(count=30, side=8):
    random = np.random.default_rng(0)
    for scene in range(count):
        statements = [
            {
                "set": "colour",
                "question": f"what is it {turn} ?",
                "answer": str(random.choice(["red", "blue"])),
            }
            for turn in range(scene % 3)
        ] + [{"set": "caption", "question": "describe", "answer": "a"}]
        yield {"image": random.bytes(side * side * 3), "statements": statements, "scene": scene}


@pytest.fixture
def folder(tmp_path):
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_list(list(rows()), features=FEATURES)
    made.save_to_disk(tmp_path / "train", num_shards=4)
    return tmp_path


def test_every_image_and_statement_is_read(folder):
    found = read_questions(folder, "train")
    assert len(found) == 30 and found.image_size == 8
    for index, row in enumerate(rows()):
        statements = [found.statements[number] for number in found.statement_numbers(index)]
        assert statements == [Statement(**statement) for statement in row["statements"]]
    wanted = [29, 0, 7, 8, 15, 7]  # from all four files, in any order
    expected = [np.frombuffer(list(rows())[index]["image"], np.uint8).reshape(8, 8, 3) for index in wanted]
    np.testing.assert_array_equal(found.images(wanted), expected)


def test_each_distinct_statement_is_kept_once(folder):
    found = read_questions(folder, "train")
    assert len(found.statements) == len(set(found.statements)) < len(found.numbers)


def test_a_missing_split_is_named(folder):
    with pytest.raises(UserError, match="held_out: not a complete Arrow dataset"):
        read_questions(folder, "held_out")


def test_a_missing_column_is_named(tmp_path):
    datasets.Dataset.from_list([{"image": b"abc"}]).save_to_disk(tmp_path / "train")
    with pytest.raises(UserError, match="column 'statements' is missing"):
        read_questions(tmp_path, "train")


def test_images_of_two_sizes_are_refused(tmp_path):
    made = [next(rows(1, 8)), next(rows(1, 6))]
    datasets.Dataset.from_list(made, features=FEATURES).save_to_disk(tmp_path / "train")
    with pytest.raises(UserError, match="images of 2 sizes"):
        read_questions(tmp_path, "train")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"_data_files": [1]}',
        b'{"_data_files": [{}]}',
        b'{"_data_files": []}',
        b'{"_data_files": [{"filename": "nowhere.arrow"}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_list_of_files_is_one_line(folder, content):
    (folder / "train" / "state.json").write_bytes(content)
    with pytest.raises(UserError, match="train: not a complete Arrow dataset") as error:
        read_questions(folder, "train")
    assert "\n" not in str(error.value)
