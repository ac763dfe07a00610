"""speed/data_disk.py: shares of counts, and a question set against `datasets` and Pillow."""

import hashlib
import io
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "questions": {"train_pictures": 40, "held_out_pictures": 20, "seed": 0, "look": "internet"},
    "image_size": 32,
}


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "speed"))


def test_a_share_of_each_count():
    import data_disk

    settings = {"fast": {"pictures": 8000, "scale": 10}, "demonstrations": {"episodes": 2000}, "chunk": 4}
    found = data_disk.reduced(settings, 0.25)
    assert found == {"fast": {"pictures": 2000, "scale": 10}, "demonstrations": {"episodes": 500}, "chunk": 4}
    assert (data_disk.pictures(settings), data_disk.pictures(found)) == (10_000, 2_500)
    assert data_disk.reduced({"pictures": 40}, 0.1) == {"pictures": 16}  # FAST holds out one episode in ten


def test_outputs_of_the_plan_of_a_checkout():
    import builds
    import data_disk

    commands = builds.read_commands(ROOT, sys.executable, [str(ROOT / "workflow/scales/smoke.yaml")])
    found = data_disk.outputs(commands)
    assert list(found)[:2] == ["questions", "demonstrations/bridge"]
    stage, settings = found["auxiliary_data/fast"]
    assert (stage, settings["fast"]["pictures"]) == ("fast-data", 60)
    assert found["questions"][1]["questions"]["train_pictures"] == 200
    assert {stage for stage, _ in found.values()} == set(data_disk.STAGES)


def test_size_and_pixels_of_a_set(tmp_path):
    import data_disk

    found = data_disk.make(ROOT, "questions", "questions", SETTINGS, 0.8, tmp_path)
    folder = tmp_path / "questions"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert found["megabytes"] == pytest.approx(size * 60 / 48 / 1e6)  # 32 + 16 of 40 + 20 images
    digest = hashlib.sha256()
    for split in ("train", "held_out"):
        rows = datasets.load_from_disk(str(folder / split))
        for number in np.random.default_rng(0).permutation(len(rows)):
            image = Image.open(io.BytesIO(rows[int(number)]["image"]))
            assert image.size == (32, 32)
            digest.update(np.asarray(image).tobytes())
    assert found["pixels"] == digest.hexdigest()
    assert found["write"] > 0.5 and 0 < found["read"] < found["write"]


def test_the_table_adds_up():
    import data_disk

    rows = {
        "questions": {"before": {"megabytes": 3.0, "write": 1.0, "read": 0.5, "pixels": "a"}},
        "demonstrations/bridge": {"before": {"megabytes": 4.0, "write": 2.0}, "now": {"megabytes": 1.0}},
    }
    lines = data_disk.table(rows, ["before"]).splitlines()
    assert lines[3:] == ["| demonstrations/bridge | 4.0, 2.0 |", "| all | 7.0, 3.0, 0.5 |"]
    rows["questions"]["now"] = {"megabytes": 2.0}
    rows["new"] = {"now": {"megabytes": 0.5}}
    builds = ["before", "now"]
    lines = data_disk.table(rows, builds).splitlines()
    assert lines[4:] == ["| new |  | 0.5 |", "| all | 7.0, 3.0, 0.5 | 3.5, 0.0, 0.0 |"]
