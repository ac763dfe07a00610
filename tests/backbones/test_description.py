"""`vlm4vla backbone CHECKPOINT`: the parts of a checkpoint, its prompt and what the variants freeze."""

from __future__ import annotations

import json

import pytest
from tiny_backbones import make

from vlm4vla.backbones import description
from vlm4vla.backbones.description import PARTS, describe
from vlm4vla.cli import main
from vlm4vla.core.registry import FAMILIES

KINDS = [*FAMILIES, "gemma3", "llava_onevision", "mllama", "qwen3_5"]


@pytest.mark.parametrize("family", KINDS)
def test_the_parts_are_all_of_the_model(tmp_path, family):
    backbone = make(family)
    backbone.save(tmp_path)
    found = describe(tmp_path)
    assert tuple(found.parts) == PARTS
    own = dict(backbone.model.named_parameters())
    total = sum(weight.numel() for weight in own.values())
    assert found.parameters == sum(part.parameters for part in found.parts.values()) == total
    for part in found.parts.values():
        named = {
            name for name in own for module in part.modules if name == module or name.startswith(f"{module}.")
        }
        assert sum(own[name].numel() for name in named) >= part.parameters
    assert found.adapter == (family if family in FAMILIES else "generic")
    assert (found.image_size, found.image_tokens) == (64, backbone.adapter.image_tokens)
    assert found.prompt_tokens == len(backbone.prompt_ids(description.INSTRUCTION))
    assert "drawer" in found.prompt
    vision = sum(w.numel() for module in backbone.vision_encoder() for w in module.parameters())
    assert found.frozen == {
        "full": 0,
        "freeze-vision": vision,
        "freeze-embedding": backbone.word_embedding().weight.numel(),
    }


def test_known_modules(tmp_path):
    make("gemma3").save(tmp_path)
    found = describe(tmp_path)
    modules = {name: part.modules for name, part in found.parts.items()}
    assert modules == {
        "vision encoder": ("model.vision_tower",),
        "projector": ("model.multi_modal_projector",),
        "word embedding": ("model.language_model.embed_tokens",),
        "language model": ("model.language_model.layers", "model.language_model.norm"),
        "output layer": (),
    }
    assert found.tied and found.template == "the checkpoint's own chat template"
    assert found.prompt.startswith("<user> <boi>[16 x <image>]<eoi>")


def test_the_command_and_its_json(tmp_path, capsys):
    make("gemma3").save(tmp_path)
    assert main(["backbone", str(tmp_path)]) == 0
    words = capsys.readouterr().out
    assert "images            64 x 64 pixels, 17 tokens\n" in words
    assert "output layer                 0  tied to the word embedding\n" in words
    assert main(["backbone", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parts"]["vision encoder"]["modules"] == ["model.vision_tower"]


def test_no_folder_is_one_line(tmp_path, capsys):
    assert main(["backbone", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'none'}: no config.json")
