"""The freeze table of a study in which one backbone has no test."""

import json

import pytest
import synthetic_study as made

from vlm4vla.stages.table import run

pytestmark = pytest.mark.usefixtures("undrawn")


def test_every_backbone_does_not_cover_one_without_a_test(tmp_path):
    paths = [made.write_episodes(tmp_path, made.episodes("random", "full", "bridge", 0.05))]
    for model in made.THREE:
        for variant, skill in (("full", 0.75), ("freeze-vision", 0.35), ("freeze-embedding", 0.75)):
            if (model, variant) != ("paligemma-1", "freeze-vision"):
                paths.append(made.write_episodes(tmp_path, made.episodes(model, variant, "bridge", skill)))
    settings = made.settings("freeze", {"benchmarks": ["bridge"]})
    run(settings, episodes=paths, published=made.PUBLISHED, output=tmp_path)
    vision, embedding, _ = json.loads((tmp_path / "analysis" / "freeze.json").read_text())["verdicts"]
    assert "hurts every backbone shows here in the 2 of 3 backbones that are tested, in these" in vision
    assert "that are tested" not in embedding
