"""The stage auxiliary-data on public datasets: every sample once, little memory, resume after a kill."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import datasets
import numpy as np
import public_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from transformers.image_transforms import convert_to_rgb

from vlm4vla.auxiliary.public.sample import is_held_out
from vlm4vla.config.public_sets import MixedSet, PublicSource
from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN
from vlm4vla.data.questions.encoded_dataset import EncodedQuestionSet
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.stages import auxiliary_data as data_stage

SPLITS = (TRAIN, HELD_OUT)


def read(folder: Path) -> dict[str, EncodedQuestionSet]:
    return {split: read_questions(folder, split) for split in SPLITS}


def samples(questions: EncodedQuestionSet) -> dict[str, list[tuple[str, str]]]:
    found = {}
    for number in range(len(questions)):
        sample = questions.table["sample"][number].as_py()
        assert sample not in found
        statements = [questions.statements[each] for each in questions.statement_numbers(number)]
        found[sample] = [(each.question, each.answer) for each in statements]
    return found


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_hash(path) for path in sorted(folder.rglob("*.arrow"))}


def shown(source, size: int = 16) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("lines", [False, True])
def test_every_conversation_is_written_once(tmp_path, lines):
    rows = public_sets.robopoint(tmp_path / "set", 60, lines)
    asked = public_sets.settings("robopoint", tmp_path / "set", held_out=0.3, buffer=9)
    data_stage.run(asked, output=tmp_path / "data")
    splits = read(tmp_path / "data")
    found = {sample: pairs for each in splits.values() for sample, pairs in samples(each).items()}
    wanted = {
        row["id"]: [
            (question["value"].removeprefix("<image>\n"), answer["value"])
            for question, answer in zip(row["conversations"][::2], row["conversations"][1::2], strict=True)
        ]
        for row in rows
        if "image" in row
    }
    assert found == wanted
    assert min(len(each) for each in splits.values()) > 3
    names = {row["id"]: row.get("image") for row in rows}
    for each in splits.values():
        pictures = each.images(range(len(each)))
        for number in range(len(each)):
            name = names[each.table["sample"][number].as_py()]
            np.testing.assert_array_equal(pictures[number], shown(tmp_path / "set" / "images" / name))
    record = json.loads((tmp_path / "data" / "provenance.json").read_text())
    assert record["without_picture"] == sum("image" not in row for row in rows) and record["faulty"] == 0
    assert record["train"] + record["held_out"] == len(wanted)


def test_every_choice_is_written_once_with_the_bytes_of_the_table(tmp_path):
    rows = {row["id"]: row for row in public_sets.robo2vlm(tmp_path / "set", 50)}
    asked = public_sets.settings("robo2vlm", tmp_path / "set", held_out=0.2, buffer=8)
    data_stage.run(asked, output=tmp_path / "data")
    splits = read(tmp_path / "data")
    assert sum(len(each) for each in splits.values()) == 50
    for each in splits.values():
        pictures = each.images(range(len(each)))
        for number in range(len(each)):
            row = rows[each.table["sample"][number].as_py()]
            assert each.table["data"][number].as_py() == row["image"]
            np.testing.assert_array_equal(pictures[number], shown(io.BytesIO(row["image"])))
            (statement,) = [each.statements[one] for one in each.statement_numbers(number)]
            assert statement.set == "robo2vlm" and statement.answer == "ABCDE"[row["correct_answer"]]
            correct = row["choices"].strip("[]").split(", ")[row["correct_answer"]].strip("'")
            assert f"\n{statement.answer}. {correct}" in statement.question


def test_splits_do_not_depend_on_seed_buffer_or_number(tmp_path):
    public_sets.robopoint(tmp_path / "set", 60)
    held = []
    for number, (seed, buffer, wanted) in enumerate([(0, 9, 10_000), (5, 1000, 10_000), (1, 4, 12)]):
        asked = public_sets.settings(
            "robopoint", tmp_path / "set", held_out=0.3, buffer=buffer, seed=seed, train_pictures=wanted
        )
        data_stage.run(asked, output=tmp_path / str(number))
        splits = read(tmp_path / str(number))
        assert len(splits[TRAIN]) <= wanted
        held.append({split: set(samples(each)) for split, each in splits.items()})
    assert held[0] == held[1] and held[2][HELD_OUT] <= held[0][HELD_OUT] and held[2][TRAIN] < held[0][TRAIN]
    assert not held[0][TRAIN] & held[0][HELD_OUT]


def test_no_image_is_in_both_splits(tmp_path):
    rows = public_sets.robopoint(tmp_path / "set", 40)
    pictured = [row for row in rows if "image" in row]
    names = [row["image"] for row in pictured]
    for number, row in enumerate(pictured):  # four rows share an image under different ids
        row["image"] = names[number // 4]
    (tmp_path / "set" / "robopoint_1432k.json").write_text(json.dumps(rows))
    data_stage.run(
        public_sets.settings("robopoint", tmp_path / "set", held_out=0.4), output=tmp_path / "data"
    )
    paths = {split: set(each.table["path"].to_pylist()) for split, each in read(tmp_path / "data").items()}
    assert paths[TRAIN] and paths[HELD_OUT] and not paths[TRAIN] & paths[HELD_OUT]


def test_equal_settings_write_equal_files_and_another_seed_another_order(tmp_path):
    public_sets.robopoint(tmp_path / "set", 40)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        asked = public_sets.settings("robopoint", tmp_path / "set", held_out=0.3, buffer=20, seed=seed)
        data_stage.run(asked, output=tmp_path / name)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b") != hashes(tmp_path / "c")
    orders = [list(samples(read(tmp_path / name)[TRAIN])) for name in "ac"]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) != orders[0]


KILLED = """
import os, signal, sys
from pathlib import Path
from vlm4vla.auxiliary.public import writer
from vlm4vla.config.stages import AuxiliaryDataSettings
report_progress = writer._Writer._report_progress
def killed(self):
    report_progress(self)
    if self.block == 3:
        os.kill(os.getpid(), signal.SIGKILL)
writer._Writer._report_progress = killed
settings = AuxiliaryDataSettings.model_validate_json(Path(sys.argv[1]).read_text())
writer.run(settings, output=Path(sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["conversations", "choices", "mixture"])
def test_a_killed_run_resumes_and_writes_the_same_files(tmp_path, kind, monkeypatch):
    public_sets.robopoint(tmp_path / "points", 60)
    public_sets.robo2vlm(tmp_path / "choices", 60)
    if kind == "conversations":
        asked = public_sets.settings("robopoint", tmp_path / "points", held_out=0.3, buffer=9)
    elif kind == "choices":
        asked = public_sets.settings("robo2vlm", tmp_path / "choices", held_out=0.3, buffer=9)
    else:
        asked = mixture(tmp_path, 60)
    (tmp_path / "settings.json").write_text(asked.model_dump_json())
    words = [sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "settings.json", tmp_path / "killed"]
    killed = subprocess.run(words, env=os.environ, capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "provenance.json").exists()
    before = hashes(tmp_path / "killed")
    assert before
    # an incomplete file, as if the run had been killed while writing
    (tmp_path / "killed" / "train" / "data-000003.arrow").write_bytes(b"half a file")
    from vlm4vla.auxiliary.public import writer

    blocks = []
    write = writer._Writer._write
    monkeypatch.setattr(
        writer._Writer, "_write", lambda self, block: (blocks.append(self.block), write(self, block))
    )
    data_stage.run(asked, output=tmp_path / "killed")
    assert blocks[0] == 3  # complete blocks are not written again
    blocks.clear()
    data_stage.run(asked, output=tmp_path / "whole")
    assert blocks[0] == 0
    after = hashes(tmp_path / "killed")
    assert after == hashes(tmp_path / "whole") and before.items() <= after.items()
    assert not (tmp_path / "killed" / "progress.json").exists()


def test_files_of_other_settings_are_not_reused(tmp_path):
    public_sets.robopoint(tmp_path / "set", 40)
    first, second = (
        public_sets.settings("robopoint", tmp_path / "set", held_out=share, buffer=5) for share in (0.5, 0.2)
    )
    data_stage.run(first, output=tmp_path / "data")
    data_stage.run(second, output=tmp_path / "data")
    data_stage.run(second, output=tmp_path / "alone")
    assert hashes(tmp_path / "data") == hashes(tmp_path / "alone")


def mixture(tmp_path, wanted):
    sets = {
        "robopoint": MixedSet(dataset=str(tmp_path / "points"), weight=3, held_out=0.3, buffer=9),
        "robo2vlm": MixedSet(dataset=str(tmp_path / "choices"), weight=1, held_out=0.3, buffer=5),
    }
    given = {name: each.resolved(name, each.weight) for name, each in sets.items()}
    asked = public_sets.settings("robopoint", tmp_path / "points")
    return asked.model_copy(
        update={
            "task": "vqa-mix",
            "train_pictures": wanted,
            "held_out_pictures": 10,
            "public": PublicSource(sets=given),
        }
    )


def test_a_mixture_contains_its_datasets_by_weight(tmp_path):
    points = public_sets.robopoint(tmp_path / "points", 60)
    choices = public_sets.robo2vlm(tmp_path / "choices", 60)
    data_stage.run(mixture(tmp_path, 400), output=tmp_path / "data")
    splits = read(tmp_path / "data")
    assert len(splits[TRAIN]) == 400 and len(splits[HELD_OUT]) == 10
    sources = splits[TRAIN].table["source"].to_pylist()
    # Every draw takes a row, but rows without an image and held-out rows are not training samples.
    own = [
        3 * sum("image" in row and not is_held_out(row["image"], 0.3) for row in points) / 60,
        sum(not is_held_out(hashlib.sha256(row["image"]).hexdigest(), 0.3) for row in choices) / 60,
    ]
    assert sources.count("robopoint") / 400 == pytest.approx(own[0] / sum(own), abs=0.06)
    assert splits[TRAIN].sets() == {"vqa-mix"}
    places = [sources.index(name) for name in ("robopoint", "robo2vlm")]
    pictures = splits[TRAIN].images(places)
    path = splits[TRAIN].table["path"][places[0]].as_py()
    np.testing.assert_array_equal(pictures[0], shown(tmp_path / "points" / "images" / path))
    data = splits[TRAIN].table["data"][places[1]].as_py()
    np.testing.assert_array_equal(pictures[1], shown(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda row: row["conversations"][1].update(value="[(1.4, 0.5)]"), "point (1.4, 0.5) is outside"),
        (lambda row: row.update(image="object_ref/none.png"), "extract the dataset's images there"),
        (lambda row: row.pop("conversations"), "'conversations' is missing: write another key in `columns`"),
        (lambda row: row.update(image="broken.png"), "Pillow cannot read its image"),
    ],
)
def test_an_invalid_row_raises_one_line_or_is_skipped(tmp_path, spoil, line):
    rows = public_sets.robopoint(tmp_path / "set", 40)
    (tmp_path / "set" / "images" / "broken.png").write_text("no picture")
    spoil(rows[3])
    (tmp_path / "set" / "robopoint_1432k.json").write_text(json.dumps(rows))
    with pytest.raises(UserError) as error:
        data_stage.run(public_sets.settings("robopoint", tmp_path / "set"), output=tmp_path / "data")
    message = str(error.value)
    assert line in message and rows[3]["id"] in message
    assert "`faulty: skip`" in message and "\n" not in message
    assert not (tmp_path / "data" / "provenance.json").exists()
    asked = public_sets.settings("robopoint", tmp_path / "set", faulty="skip", held_out=0.3)
    data_stage.run(asked, output=tmp_path / "data")
    record = json.loads((tmp_path / "data" / "provenance.json").read_text())
    assert record["faulty"] == 1 and record["train"] + record["held_out"] == 40 - 5 - 1


def test_an_empty_split_raises(tmp_path):
    public_sets.robopoint(tmp_path / "set", 3)
    with pytest.raises(UserError, match="no image in the split 'held_out'"):
        data_stage.run(
            public_sets.settings("robopoint", tmp_path / "set", held_out=1e-9), output=tmp_path / "data"
        )


MEASURED = """
import sys
from pathlib import Path
from vlm4vla.auxiliary.public import writer
from vlm4vla.config.stages import AuxiliaryDataSettings
settings = AuxiliaryDataSettings.model_validate_json(Path(sys.argv[1]).read_text())
writer.run(settings, output=Path(sys.argv[2]))
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])  # getrusage would include the parent's memory
"""


def test_memory_does_not_grow_with_the_dataset(tmp_path):
    """A dataset that is 16 times as large, about 60 MB larger, needs hardly more memory."""
    peaks = []
    for count in (40, 640):
        folder = tmp_path / str(count)
        public_sets.robo2vlm(folder / "set", count, files=2, side=180)
        asked = public_sets.settings("robo2vlm", folder / "set", held_out=0.1, buffer=20)
        (folder / "settings.json").write_text(asked.model_dump_json())
        words = [sys.executable, "-c", MEASURED, folder / "settings.json", folder / "data"]
        done = subprocess.run(words, env=os.environ, capture_output=True, text=True, check=True, timeout=600)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    size = sum(path.stat().st_size for path in (tmp_path / "640").rglob("*.parquet")) / 2**20
    assert size > 50 and peaks[1] - peaks[0] < 0.75 * size  # holding the whole dataset would need `size`


def test_a_cut_off_picture_is_named_by_its_file_and_sample(tmp_path):
    """A picture that ends early has a complete header; it is refused here and not in the training."""
    public_sets.robo2vlm(tmp_path / "set", 20, files=2)
    path = tmp_path / "set" / "data" / "train-00001-of-00002.parquet"
    table = pq.read_table(path)
    rows = table["image"].to_pylist()
    rows[3]["bytes"] = rows[3]["bytes"][: len(rows[3]["bytes"]) // 2]
    column = pa.array(rows, table.schema.field("image").type)
    pq.write_table(table.set_column(table.schema.get_field_index("image"), "image", column), path)
    asked = public_sets.settings("robo2vlm", tmp_path / "set", held_out=0.3)
    with pytest.raises(UserError, match=r"train-00001-of-00002\.parquet: sample 'fractal_00013': ") as error:
        data_stage.run(asked, output=tmp_path / "data")
    assert "Pillow cannot read its image" in str(error.value) and "\n" not in str(error.value)
    skipping = public_sets.settings("robo2vlm", tmp_path / "set", held_out=0.3, faulty="skip")
    data_stage.run(skipping, output=tmp_path / "data")
    assert json.loads((tmp_path / "data" / "provenance.json").read_text())["faulty"] == 1


def test_pictures_are_shown_as_by_datasets_and_the_processors(tmp_path):
    """Turned photographs and drawings with a transparent ground, in the files of a conversation dataset."""
    rows = public_sets.robopoint(tmp_path / "set", 30)
    names = {row["id"]: row["image"] for row in rows if "image" in row}
    for number, name in enumerate(names.values()):
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image = public_sets.picture(number)
        if number % 3 == 0:
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(tmp_path / "set" / "images" / name, exif=exif)
    asked = public_sets.settings("robopoint", tmp_path / "set", held_out=0.3)
    data_stage.run(asked, output=tmp_path / "data")
    for each in read(tmp_path / "data").values():
        for number, found in enumerate(each.images(range(len(each)))):
            path = tmp_path / "set" / "images" / names[each.table["sample"][number].as_py()]
            turned = datasets.Image().decode_example({"path": str(path), "bytes": None})
            image = Image.fromarray(convert_to_rgb(turned, return_numpy=True))
            np.testing.assert_array_equal(found, np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC)))
