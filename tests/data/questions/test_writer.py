"""Equal images and statements give equal bytes, whenever and wherever they are written."""

import io
import json
import os

import datasets
import numpy as np
import pytest
from PIL import Image

from vlm4vla.data.questions.statements import Picture, Statement
from vlm4vla.data.questions.writer import write_split


def pictures(count=4, seed=0, dense=False):
    random = np.random.default_rng(seed)
    for _ in range(count):
        image = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        more = {"depth": random.random((8, 8)), "classes": image[..., 0]} if dense else {}
        yield Picture(image, {}, [Statement("colour", "what is it ?", str(random.integers(9)))], **more)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dense", [False, True])
def test_two_runs_write_the_same_bytes_in_every_file(tmp_path, dense):
    for name in ("one", "another folder"):
        write_split(tmp_path / name, "train", pictures(dense=dense), 4, "test", dense=dense)
        os.utime(tmp_path / name)  # `datasets` hashes the time of a file by default
    one, two = contents(tmp_path / "one/train"), contents(tmp_path / "another folder/train")
    assert one == two and set(one) == {"data-00000-of-00001.arrow", "dataset_info.json", "state.json"}


def test_writing_again_gives_the_same_bytes(tmp_path):
    write_split(tmp_path, "train", pictures(), 4, "test")
    before = contents(tmp_path / "train")
    write_split(tmp_path, "train", pictures(), 4, "test")
    assert contents(tmp_path / "train") == before


def test_other_rows_have_another_fingerprint(tmp_path):
    """`datasets` caches what it computes under the fingerprint, so it must tell rows apart."""
    found = []
    for seed in range(3):
        write_split(tmp_path / str(seed), "train", pictures(seed=seed), 4, "test")
        found.append(json.loads((tmp_path / str(seed) / "train/state.json").read_text())["_fingerprint"])
    assert len(set(found)) == 3


def test_datasets_reads_what_is_written(tmp_path):
    write_split(tmp_path, "train", pictures(), 4, "test")
    read = datasets.load_from_disk(str(tmp_path / "train"))
    for row, picture in zip(read, pictures(), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row["image"]))), picture.image)
        assert row["statements"][0]["answer"] == picture.statements[0].answer
    shown = read.cast_column("image", datasets.Image())
    np.testing.assert_array_equal(np.asarray(shown[2]["image"]), list(pictures())[2].image)
    assert read.map(lambda row: {"scene": row["scene"] + 1})["scene"] == [1, 2, 3, 4]
