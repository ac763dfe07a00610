"""A bound on the tokens of an image, on folders whose processor cuts images into tiles or has an area."""

from __future__ import annotations

import json

import pytest

from vlm4vla.backbones import load
from vlm4vla.backbones.generic.image_bound import bound_image_tokens
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError

SIDE = 64
KEY = "backbones.mine.image_tokens"


def folder_of(tmp_path, model_type, **changes):
    model, processor = build_twin(model_type, TinySize(), ["drawer"], SIDE, seed=0)
    for name, value in changes.items():
        setattr(processor.image_processor, name, value)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path


def settings(folder):
    return json.loads((folder / "processor_config.json").read_text())["image_processor"]


def test_tiles_are_left_out(tmp_path):
    tiles = {"do_image_splitting": True, "size": {"longest_edge": 2 * SIDE}}
    folder = folder_of(tmp_path, "idefics3", **tiles)
    before = load(folder).adapter.image_tokens
    assert before > 4 * 16  # four tiles and the whole image
    found = bound_image_tokens(folder, 40, SIDE, KEY)
    assert found == load(folder).adapter.image_tokens == 16
    assert settings(folder)["do_image_splitting"] is False


def test_pinpoints_become_one_tile(tmp_path):
    folder = folder_of(tmp_path, "llava_onevision", image_grid_pinpoints=[[128, 128], [192, 192]])
    file = folder / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"image_grid_pinpoints": [[128, 128], [192, 192]]}))
    assert load(folder).adapter.image_tokens == 16 + 8 * 9
    assert bound_image_tokens(folder, 80, SIDE, KEY) == load(folder).adapter.image_tokens == 16 + 4 * 5


def test_an_area_becomes_smaller(tmp_path):
    folder = folder_of(tmp_path, "qwen3_5", size={"shortest_edge": 4 * SIDE**2, "longest_edge": 4 * SIDE**2})
    assert load(folder, image_size=SIDE).adapter.image_tokens == 64
    found = bound_image_tokens(folder, 20, SIDE, KEY)
    assert found == load(folder, image_size=SIDE).adapter.image_tokens == 16


def test_soft_tokens_are_a_number_that_the_processor_accepts(tmp_path):
    folder = folder_of(tmp_path, "gemma4", max_soft_tokens=280)
    found = bound_image_tokens(folder, 100, SIDE, KEY)
    assert found == 64 and settings(folder)["max_soft_tokens"] == 70


def test_a_bound_that_is_kept_changes_nothing(tmp_path):
    folder = folder_of(tmp_path, "gemma3")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    assert bound_image_tokens(folder, 17, SIDE, KEY) == 17
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("model_type", ["gemma3", "gemma4"])
def test_a_bound_that_cannot_be_kept_is_refused_and_changes_nothing(tmp_path, model_type):
    folder = folder_of(tmp_path, model_type)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UserError, match=r"^backbones.mine.image_tokens: 3 tokens, .* at least \d+$"):
        bound_image_tokens(folder, 3, SIDE, KEY)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
