"""Instructions with words that a tiny backbone does not know."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import torch
from small_inputs import write_demonstrations
from vla_settings import settings

from vlm4vla.backbones import load
from vlm4vla.backbones.vocabulary import missing_words
from vlm4vla.core import registry
from vlm4vla.data.lerobot.reader import read_demonstrations
from vlm4vla.data.lerobot.writer import LeRobotWriter
from vlm4vla.policies.policy import Policy
from vlm4vla.stages import vla as vla_stage


def write_unknown_words(folder):
    """Write demonstrations whose instructions have words of no built-in benchmark."""
    random = np.random.default_rng(1)
    with LeRobotWriter(folder, fps=5, robot_type="test", image_size=64) as writer:
        for text in ("reach for the zebra", "reach for the abacus", "reach for the red block"):
            images = random.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
            actions = random.normal(size=(8, 7)).astype(np.float32)
            writer.add_episode(images, random.normal(size=(8, 8)), actions, text, {})
    (folder / "provenance.json").write_text(json.dumps({"stage": "demonstrations"}))
    return folder


def test_known_words_change_nothing(backbone, demonstrations):
    loaded = load(backbone)
    assert vla_stage.with_instruction_words(loaded, "calvin", read_demonstrations(demonstrations)) is loaded


def test_other_words_are_added_and_distinguished(backbone, tmp_path):
    rows = load(backbone).word_embedding().weight.shape[0]
    vla_stage.run(
        settings(),
        backbone=backbone,
        demonstrations=write_unknown_words(tmp_path / "d"),
        output=tmp_path / "v",
    )
    policy = Policy.load(tmp_path / "v")
    assert not missing_words(policy.backbone, ["zebra", "abacus", "red"])
    assert policy.backbone.word_embedding().weight.shape[0] == rows + 2
    image = np.full((1, 64, 64, 3), 120, dtype=np.uint8)
    first, second = (policy.predict(image, [f"reach for the {word}"]) for word in ("zebra", "abacus"))
    assert np.abs(first - second).max() > 0


def test_words_that_only_the_evaluation_uses_are_added(backbone, tmp_path, monkeypatch):
    """A user's benchmark may have instructions in the evaluation that are in no demonstration."""
    scene = lambda: SimpleNamespace(instructions=lambda: ["reach for the yak"])  # noqa: E731
    monkeypatch.setattr(registry, "find", lambda kind, name: scene if name == "mine" else None)
    frames = read_demonstrations(write_demonstrations(tmp_path))
    grown = vla_stage.with_instruction_words(load(backbone), "mine", frames)
    assert not missing_words(grown, ["yak"])
    new = grown.word_embedding().weight[-1]
    torch.testing.assert_close(new, grown.word_embedding().weight[:-1].mean(0))


def test_a_tokenizer_that_can_spell_words_is_not_changed(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("vlm4vla.backbones.vocabulary.has_word_tokens", lambda backbone: False)
    loaded = load(backbone)
    assert (
        vla_stage.with_instruction_words(loaded, "calvin", read_demonstrations(write_unknown_words(tmp_path)))
        is loaded
    )
