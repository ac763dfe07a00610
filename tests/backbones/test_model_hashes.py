"""The record of a model has every file that its behaviour depends on."""

import hashlib

import pytest
from tiny_backbones import make

from vlm4vla.backbones.model_hashes import model_hashes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make("qwen2_5_vl").save(folder)
    (folder / "provenance.json").write_text("{}")
    (folder / "README.md").write_text("a card, which later stages write again")
    (folder / "train.jsonl").write_text("")
    (folder / ".model.safetensors.abcdefgh").write_text("of a killed process")
    (folder / "original").mkdir()
    (folder / "original" / "tokenizer.json").write_text("{}")
    return folder


def test_weights_settings_tokenizer_and_processor_are_recorded(folder):
    found = model_hashes(folder)
    assert {"model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"} <= found.keys()
    for name, digest in found.items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_what_changes_later_is_not(folder):
    found = model_hashes(folder)
    assert not {"provenance.json", "README.md", "train.jsonl", "original"} & found.keys()
    assert not [name for name in found if name.startswith(".")]
