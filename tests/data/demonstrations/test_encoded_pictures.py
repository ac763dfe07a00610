"""Images in tables: copied completely, also after an interruption, and read one by one."""

import io
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import picture, png
from PIL import Image

from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations import encoded_pictures
from vlm4vla.data.demonstrations.encoded_pictures import EncodedPictures, copy_pictures

KIND = pa.struct({"bytes": pa.binary(), "path": pa.string()})
COUNTS = (37, 3, 60)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_pictures, "PART", 24)
    monkeypatch.setattr(encoded_pictures, "BATCH", 8)
    return write_tables(tmp_path)


def write_tables(folder):
    paths, first = [], 0
    for number, count in enumerate(COUNTS):
        pictures = [{"bytes": png(picture(first + place)), "path": None} for place in range(count)]
        paths.append(folder / f"{number}.parquet")
        pq.write_table(pa.table({"look": pa.array(pictures, KIND)}), paths[-1], row_group_size=10)
        first += count
    return paths


def check(folder):
    read = EncodedPictures(folder)
    for row in np.random.default_rng(0).permutation(sum(COUNTS)):
        np.testing.assert_array_equal(read.picture(int(row)), picture(row))


def test_every_image_is_copied(files, tmp_path):
    copy_pictures(files, "look", sum(COUNTS), tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 5  # 24 images per file
    check(tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    copy_pictures(files, "look", sum(COUNTS), tmp_path / "out")  # nothing is left to copy
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    from vlm4vla.data.demonstrations import encoded_pictures as module
    module.PART, module.BATCH = 24, 8
    pieces = module._batches
    def killing(found):
        for number, piece in enumerate(pieces(found)):
            if number == 8:  # in the third file
                os.kill(os.getpid(), signal.SIGKILL)
            yield piece
    module._batches = killing
    files = [Path({folder!r}) / f"{{n}}.parquet" for n in range(3)]
    module.copy_pictures(files, "look", {rows}, Path({folder!r}) / "out")
"""


def test_an_interrupted_copy_resumes(files, tmp_path):
    script = KILLED.format(paths=sys.path, folder=str(tmp_path), rows=sum(COUNTS))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    whole = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*.arrow")}
    assert sorted(whole) == ["part-00000.arrow", "part-00001.arrow"]
    copy_pictures(files, "look", sum(COUNTS), tmp_path / "out")
    check(tmp_path / "out")
    for name, time in whole.items():
        assert (tmp_path / "out" / name).stat().st_mtime_ns == time  # the file was kept


def test_images_that_cannot_be_copied_are_refused(files, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="100 images for 99 frames"):
        copy_pictures(files, "look", 99, tmp_path / "a")
    pictures = [{"bytes": png(picture(0)), "path": None}, {"bytes": None, "path": "0.png"}]
    pq.write_table(pa.table({"look": pa.array(pictures, KIND)}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: image 1 of 'look' is a separate file"):
        copy_pictures([tmp_path / "b.parquet"], "look", 2, tmp_path / "b")
    pq.write_table(pa.table({"look": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"c\.parquet: column 'look' has the type string, not encoded images"):
        copy_pictures([tmp_path / "c.parquet"], "look", 1, tmp_path / "c")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(UserError, match=r"d: the copy of the images needs .* GB free: free some space"):
        copy_pictures(files, "look", sum(COUNTS), tmp_path / "d")


def test_an_unreadable_image_is_named(files, tmp_path):
    copy_pictures(files, "look", sum(COUNTS), tmp_path / "out")
    with pytest.raises(UserError, match=r"part-00004\.arrow: image 110 cannot be read"):
        EncodedPictures(tmp_path / "out").picture(110)
    (tmp_path / "out/part-00002.arrow").write_bytes(b"half")
    with pytest.raises(UserError, match=r"part-00002\.arrow: image 50 cannot be read"):
        EncodedPictures(tmp_path / "out").picture(50)


def changed(data):
    middle = len(data) // 2
    return data[:middle] + bytes(8) + data[middle + 8 :]


def webp(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [b"", b"no picture", changed(png(picture(1))), webp(picture(1))[:-40]],
    ids=["empty", "text", "damaged PNG", "cut off WEBP"],
)
def test_a_damaged_image_is_refused_before_training(tmp_path, damaged):
    rows = [{"bytes": data, "path": None} for data in (png(picture(0)), webp(picture(1)), damaged)]
    pq.write_table(pa.table({"look": pa.array(rows, KIND)}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: image 2 of 'look' cannot be read"):
        copy_pictures([tmp_path / "a.parquet"], "look", 3, tmp_path / "out")


def test_a_table_without_the_camera_is_named(tmp_path):
    pq.write_table(pa.table({"other": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: column 'look' is missing"):
        copy_pictures([tmp_path / "a.parquet"], "look", 1, tmp_path / "out")
