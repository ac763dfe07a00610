"""Frames that are kept after decoding: always those of the decoder, whatever happens to the kept file."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from handmade_sets import FRONT, TOTAL, write_v30

from vlm4vla.config.benchmarks import Augmentation
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.decoded_pictures import BLOCK, FOLDER, HEAD, KEPT_GB, SHARE, most_bytes
from vlm4vla.data.demonstrations.frame_index import FramePictures, open_index
from vlm4vla.data.demonstrations.picture_pool import PictureMaker, PicturePool
from vlm4vla.data.pictures.augmentation import augmented
from vlm4vla.stages.demonstrations_dataset import run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a dataset of videos and its index, and its frames by the decoder alone."""
    folder = tmp_path_factory.mktemp("made")
    dataset = write_v30(folder / "set")
    wanted = Demonstrations(dataset=str(dataset), camera=FRONT)
    settings = DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=32)
    run(settings, output=folder / "index")
    look = FramePictures(open_index(folder / "index"))
    frames = np.stack([look.original(row) for row in range(TOTAL)])
    look.close()
    assert not (folder / "index" / FOLDER).exists()
    return folder, frames


@pytest.fixture
def index(made, tmp_path, monkeypatch):
    monkeypatch.delenv(KEPT_GB, raising=False)
    return shutil.copytree(made[0] / "index", tmp_path / "index")


def read(index, order, *, decoding=True):
    look = FramePictures(open_index(index), keep=True)
    if not decoding:
        look._decoded = None  # calling it raises TypeError
    try:
        return {int(row): look.original(int(row)) for row in order}
    finally:
        look.close()


def shuffled(seed):
    return np.random.default_rng(seed).permutation(TOTAL)


def same(found, frames):
    assert set(found) == set(range(TOTAL))
    for row, picture in found.items():
        np.testing.assert_array_equal(picture, frames[row])


def kept_file(index):
    [file] = (index / FOLDER).iterdir()
    return file


def test_frames_are_decoded_once(index, made):
    same(read(index, shuffled(0)), made[1])
    same(read(index, shuffled(1), decoding=False), made[1])


def test_the_second_frame_of_a_pair_is_kept_with_the_first(index, made):
    read(index, [0])
    np.testing.assert_array_equal(read(index, [1], decoding=False)[1], made[1][1])
    with pytest.raises(TypeError):
        read(index, [2], decoding=False)


@pytest.mark.parametrize("damage", ["a bit", "zeros", "the other record", "cut"])
def test_a_damaged_record_is_decoded_again(index, made, damage):
    read(index, shuffled(0))
    file = kept_file(index)
    data = bytearray(file.read_bytes())
    stride = -(-(HEAD + made[1][0].nbytes) // BLOCK) * BLOCK
    if damage == "a bit":
        data[HEAD + 100] ^= 1
    elif damage == "zeros":
        data[HEAD + 50 : HEAD + 90] = bytes(40)
    elif damage == "the other record":
        data[:stride] = data[stride : 2 * stride]
    else:
        data = data[: len(data) - stride // 2]
    file.write_bytes(data)
    with pytest.raises(TypeError):
        read(index, shuffled(1), decoding=False)
    same(read(index, shuffled(1)), made[1])
    same(read(index, shuffled(2), decoding=False), made[1])


def test_a_changed_video_or_index_starts_anew(index, made):
    read(index, shuffled(0))
    first = kept_file(index)
    frames = open_index(index)
    video = frames.source / frames.video_names[0]  # of the chosen camera
    status = video.stat()
    os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    try:
        same(read(index, shuffled(1)), made[1])
        assert kept_file(index) != first  # and the first one is removed
        second = kept_file(index)
        start = np.load(index / "rows/video_start.npy")
        np.save(index / "rows/video_start.npy", start + 1e-9)
        read(index, [0])
        assert kept_file(index) != second
    finally:
        os.utime(video, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_the_limit_holds(index, made, monkeypatch):
    stride = -(-(HEAD + made[1][0].nbytes) // BLOCK) * BLOCK
    monkeypatch.setenv(KEPT_GB, str(5.5 * stride / 1e9))
    for seed in range(2):
        same(read(index, shuffled(seed)), made[1])
    assert kept_file(index).stat().st_size <= 5 * stride
    read(index, range(5), decoding=False)
    with pytest.raises(TypeError):
        read(index, [5], decoding=False)
    monkeypatch.setenv(KEPT_GB, str(2.5 * stride / 1e9))  # a smaller limit of a later run
    with pytest.raises(TypeError):
        read(index, [2], decoding=False)


def test_zero_keeps_nothing(index, made, monkeypatch):
    monkeypatch.setenv(KEPT_GB, "0")
    same(read(index, shuffled(0)), made[1])
    assert not (index / FOLDER).exists()


@pytest.mark.parametrize("value", ["", "-1", "many", "nan", "inf"])
def test_an_invalid_limit_is_one_line(index, monkeypatch, value):
    monkeypatch.setenv(KEPT_GB, value)
    with pytest.raises(UserError, match=rf"^{KEPT_GB}: '{value}' is not a number of GB: write 0 or more$"):
        read(index, [0])


def test_the_default_is_a_share_of_the_free_space(tmp_path, monkeypatch):
    monkeypatch.delenv(KEPT_GB, raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 50, 50))
    assert most_bytes(Path(tmp_path)) == pytest.approx(50 * SHARE)


def test_a_full_disk_keeps_nothing_more(index, made, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    same(read(index, shuffled(0)), made[1])


def test_a_folder_that_cannot_be_written_keeps_nothing(index, made):
    (index / FOLDER).write_text("a file in the way")
    same(read(index, shuffled(0)), made[1])
    assert (index / FOLDER).read_text() == "a file in the way"


@pytest.mark.parametrize("crop", [1, 0.9])
def test_training_images_are_the_same_with_kept_frames(index, made, monkeypatch, crop):
    """Frames that are never cropped are kept in the training's size, and others in full size."""
    maker = PictureMaker(index, 24, 3, Augmentation(crop=crop, hue=0.05), 5)
    expected = [
        augmented(made[1][row], 24, 3, maker.augmentation, np.random.default_rng([5, step, row]))
        for step in range(2)
        for row in range(TOTAL)
    ]
    with PicturePool(maker, workers=0, room=0) as pool:
        found = np.concatenate([pool.get(step, np.arange(TOTAL)) for step in range(2)])
    np.testing.assert_array_equal(found, np.stack(expected))
    size = "24x24" if crop == 1 else "x".join(map(str, made[1].shape[1:3]))
    assert kept_file(index).name.split("-")[1] == size
