"""A stage refuses an input whose files are not as their own stage recorded them."""

import hashlib
import json

import pytest

from vlm4vla.core.errors import UserError
from vlm4vla.stages import running

RECORD = '{"stage": "vla", "settings": {}, "inputs": {}, %s}'


@pytest.fixture
def folder(tmp_path):
    names = {"model.safetensors": b"weights" * 100, "train/data.arrow": b"rows" * 100}
    for name, content in names.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    digest = {name: hashlib.sha256(content).hexdigest() for name, content in names.items()}
    record = {
        "stage": "vla",
        "settings": {},
        "inputs": {},
        "outputs": {"model.safetensors": digest["model.safetensors"]},
        "files": {"train": {"data.arrow": digest["train/data.arrow"]}},
    }
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    return tmp_path


def refused(folder) -> str:
    with pytest.raises(UserError) as error:
        running.check_input("vla", folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unchanged_input_is_taken(folder):
    running.check_input("vla", folder)


@pytest.mark.parametrize("name", ["model.safetensors", "train/data.arrow"])
def test_one_flipped_bit(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[50] ^= 1
    (folder / name).write_bytes(bytes(content))
    assert f"{folder / name}: changed since its stage wrote it" in refused(folder)


def test_a_missing_file(folder):
    (folder / "train" / "data.arrow").unlink()
    assert "data.arrow: missing" in refused(folder)


def test_weights_are_compared_and_large_datasets_are_not(folder, monkeypatch):
    monkeypatch.setattr(running, "MOST_HASHED", 10)
    (folder / "train" / "data.arrow").write_bytes(b"other")  # 5 bytes: still compared
    refused(folder)
    (folder / "train" / "data.arrow").write_bytes(b"other rows of a large file")
    running.check_input("vla", folder)
    (folder / "model.safetensors").write_bytes(b"other")
    refused(folder)


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "{",
        "{}",
        '{"a": 1}',
        "[" * 100_000,
        '{"stage": "vla", "settings": [], "inputs": {}}',
        '{"stage": "vla", "settings": {}, "inputs": {"vla": {}}}',
        RECORD % '"files": {"../x": "0"}',
        RECORD % '"files": {"/x": "0"}',
        RECORD % '"files": [1]',
        RECORD % '"files": {"x": 1}',
    ],
)
def test_a_record_that_is_none(folder, record):
    (folder / "provenance.json").write_text(record)
    assert "provenance.json" in refused(folder)
