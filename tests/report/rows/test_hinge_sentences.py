"""Studies with a strong even effect, and with an effect in one task, one seed or one backbone."""

import json

import numpy as np
import pytest
import synthetic_study as made

from vlm4vla.report.pages.findings import findings
from vlm4vla.stages.table import run

pytestmark = pytest.mark.usefixtures("undrawn")

MODELS = made.THREE
CELLS = {"benchmarks": ["bridge"]}
STATES = np.arange(96)


def write(root, model, variant, success, seed=0):
    frame = made.episodes(model, variant, "bridge", 0.5, seed=seed)
    frame = frame.assign(success=success, solved=success.astype(int), checkpoint=f"{model}-{variant}-{seed}")
    return made.write_episodes(root, frame)


def freeze(root, lost, seeds=(0,)):
    """The freeze table of a study. `lost(model, seed)`: the states that a frozen vision encoder loses."""
    paths = []
    for model in MODELS:
        for seed in seeds:
            own = STATES % 12 < 9
            paths.append(write(root, model, "full", own, seed))
            paths.append(write(root, model, "freeze-embedding", own, seed))
            paths.append(write(root, model, "freeze-vision", own & ~lost(model, seed), seed))
    settings = made.settings("freeze", CELLS, seeds=list(seeds))
    run(settings, episodes=paths, published=made.PUBLISHED, output=root)
    return json.loads((root / "analysis" / "freeze.json").read_text())


def test_a_strong_even_effect_says_so_and_hinges_on_nothing(tmp_path):
    found = freeze(tmp_path, lambda model, seed: STATES % 12 < 5)
    text = "\n".join(found["verdicts"])
    assert "freezing the vision encoder hurts every backbone shows here" in text
    assert "alone" not in text and found["hinges"] == []


def test_an_effect_in_one_task_is_said(tmp_path):
    found = freeze(tmp_path, lambda model, seed: STATES % 4 == 2)  # the task of a state is its number % 4
    named = [sentence for sentence in found["verdicts"] if "one task alone, task 2 (-66.7" in sentence]
    assert len(named) == len(MODELS)
    assert {hinge["kind"] for hinge in found["hinges"]} == {"task"}
    assert all(hinge["rest"] == 0 for hinge in found["hinges"])


def test_an_effect_in_one_seed_is_said(tmp_path):
    found = freeze(tmp_path, lambda model, seed: (STATES % 12 < 6) & (seed == 1), seeds=(0, 1, 2))
    named = [sentence for sentence in found["verdicts"] if "one training seed alone, seed 1 (" in sentence]
    assert len(named) == len(MODELS)
    assert all("is not shown beyond these training seeds" in sentence for sentence in named)
    assert not any(row["outcome"] == "lower" for row in found["records"] if row.get("outcome"))


def test_an_effect_in_one_backbone_is_said(tmp_path):
    found = freeze(tmp_path, lambda model, seed: (STATES % 12 < 5) & (model == MODELS[1]))
    [sentence] = [sentence for sentence in found["verdicts"] if "alone" in sentence]
    assert "the mean difference over 3 backbones (-13.9) " in sentence
    assert "one backbone alone, Qwen2.5-VL-7B (-41.7; in the other 2 together +0.0 [" in sentence
    [hinge] = found["hinges"]
    assert (hinge["kind"], hinge["name"], hinge["model"]) == ("backbone", MODELS[1], "all")


@pytest.mark.parametrize(("one_task", "expected"), [(True, 2), (False, 0)])
def test_pairs_of_backbones_name_the_task(tmp_path, one_task, expected):
    """The first backbone solves one more task, or one state in four more, than the two others."""
    extra = STATES % 4 == 1 if one_task else STATES % 16 < 4
    base = STATES % 16 >= 12 if one_task else STATES % 16 >= 8
    paths = [write(tmp_path, MODELS[0], "full", base | extra)]
    paths += [write(tmp_path, model, "full", base) for model in MODELS[1:]]
    settings = made.settings("main", CELLS | {"backbones": MODELS})
    run(settings, episodes=paths, published=made.PUBLISHED, output=tmp_path)
    found = json.loads((tmp_path / "analysis" / "main.json").read_text())
    assert sum(pair["decided"] for pair in found["pairs"]) == 2
    assert len(found["hinges"]) == expected
    text = "\n".join(found["verdicts"])
    counted = "2 of the differences between backbones (2 of 3 pairs differ) are seen in one task"
    assert (counted in text) == one_task
    assert ("Qwen2.5-VL-3B minus PaliGemma-1 (+75.0; in the other 3 together" in text) == one_task


def test_the_summary_says_on_what_its_finding_hinges(tmp_path):
    found = freeze(tmp_path, lambda model, seed: STATES % 4 == 2)
    finding = next(each for each in findings({"freeze": found}) if "vision encoder" in each.claim)
    assert "; 3 of the differences are seen in one task alone (task 2)" in finding.details
