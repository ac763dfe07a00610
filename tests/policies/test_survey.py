"""Each model type of transformers as docs/backbones.md says, and the checks themselves."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch

from vlm4vla.backbones.generic import family, forward
from vlm4vla.backbones.generic.surveyed import PACKAGES, findings, page, read, written
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.backbones.lookup import generic_types
from vlm4vla.cli import main
from vlm4vla.policies import survey as surveys
from vlm4vla.policies.policy import Policy
from vlm4vla.policies.survey import SAME, survey

REPOSITORY = Path(__file__).parents[2]
IS_USUAL = importlib.util.find_spec("torchvision") is None
QUICK = (
    "aya_vision",  # a row of tile tokens
    "gemma3",  # image tokens attend to each other, by token_type_ids
    "gemma4",  # further inputs for each layer, from the ids
    "glm46v",  # positions on three axes
    "mllama",  # cross-attention to the image, by a mask for each token
    "qwen3_5",  # linear attention in most layers
)


def cases():
    for each in findings().values():
        marks = [] if each.model_type in QUICK else [pytest.mark.exhaustive]
        lacking = each.lacking()
        if lacking:
            marks.append(pytest.mark.skip(f"needs {' and '.join(lacking)}: make test-torchvision"))
        elif not IS_USUAL and not each.needs:
            marks.append(pytest.mark.skip("a type of the usual environment"))
        yield pytest.param(each, id=each.model_type, marks=marks)


@pytest.mark.parametrize("expected", list(cases()))
def test_a_model_type_is_as_the_page_says(expected):
    found = survey(expected.model_type)
    known = dataclasses.replace(expected, reason="")
    assert dataclasses.replace(found, reason="", transformers=known.transformers) == known, found.reason
    assert bool(found.reason) == bool(expected.reason)


def test_the_page_and_the_file_are_up_to_date():
    known = findings()
    assert set(known) == generic_types(), "run `vlm4vla survey --update`"
    assert (REPOSITORY / "docs" / "backbones.md").read_text() == page(SAME)
    assert {name for each in known.values() for name in each.needs} <= set(PACKAGES)
    assert {each.model_type: each for each in read(written(known.values()))} == known


def test_most_types_work_and_the_readme_counts_them():
    found = list(findings().values())
    works = sum(each.works for each in found)
    assert works >= 85
    assert f"{works} of the {len(found)} model types" in (REPOSITORY / "README.md").read_text()


# A check that could not fail would show nothing.


def failed():
    found = survey("llava")
    assert not found.works and found.reason
    return found.failed


def test_another_prompt_than_the_processors_is_found(monkeypatch):
    encode = family.GenericAdapter.encode
    monkeypatch.setattr(family.GenericAdapter, "encode", lambda self, text: encode(self, text)[1:])
    assert failed() == "processor"


def test_a_query_at_another_place_is_found(monkeypatch):
    placed = forward.query_placed
    monkeypatch.setattr(
        family, "query_placed", lambda embedding, query, at, length: placed(embedding, query, at - 1, length)
    )
    assert failed() == "state"


def test_attention_to_padding_is_found(monkeypatch):
    padded = family.GenericAdapter._right_padded

    def without_mask(self, batch):
        inputs, padding = padded(self, batch)
        inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
        return inputs, padding

    monkeypatch.setattr(family.GenericAdapter, "_right_padded", without_mask)
    assert failed() == "padding"


@pytest.mark.parametrize(("part", "check"), [("image", "image"), ("text", "instruction")])
def test_a_model_that_ignores_an_input_is_found(monkeypatch, part, check):
    def blind(*arguments, **options):
        model, processor = build_twin(*arguments, **options)
        with torch.no_grad():
            if part == "image":
                model.model.multi_modal_projector.linear_2.weight.zero_()
            else:
                words = model.get_input_embeddings().weight
                words[:] = words[0]
        return model, processor

    monkeypatch.setattr(surveys, "build_twin", blind)
    assert failed() == check


def test_logits_of_the_vocabulary_are_found(monkeypatch):
    kept = forward.states_kept

    def computed(layer, length, rows=None, **options):
        layer(torch.zeros(1, layer.in_features))
        return kept(layer, length, rows, **options)

    monkeypatch.setattr(family, "states_kept", computed)
    assert failed() == "vocabulary"


@pytest.mark.parametrize("what", ["frozen weights change", "others stay"])
def test_frozen_weights_that_change_and_others_that_stay_are_found(monkeypatch, what):
    step = surveys._step

    def wrong(policy):
        weight = next(policy.model.model.vision_tower.parameters())
        changed = weight.detach() + (1 if what == "frozen weights change" else 0)
        step(policy)
        with torch.no_grad():
            weight.copy_(changed)

    monkeypatch.setattr(surveys, "_step", wrong)
    assert failed() == "training"


@pytest.mark.parametrize("model_type", ["chameleon", "emu3"])
def test_only_the_vision_encoder_of_a_model_of_codes_gets_no_gradient(model_type):
    found = survey(model_type)
    assert found.works, found.reason
    assert found.unused == ("model.vqmodel",)


def test_a_vision_encoder_without_a_gradient_is_found(monkeypatch):
    step = surveys._step

    def cut(policy):
        for module in policy.backbone.vision_encoder():
            for weight in module.parameters():
                weight.requires_grad_(False)
        step(policy)

    monkeypatch.setattr(surveys, "_step", cut)
    found = survey("llava")
    assert (found.failed, found.reason) == ("training", "no gradient reaches the vision encoder")


def test_another_policy_in_the_folder_is_found(monkeypatch):
    load = Policy.load.__func__

    def other(cls, folder):
        policy = load(cls, folder)
        with torch.no_grad():
            policy.head.query.add_(1)
        return policy

    monkeypatch.setattr(Policy, "load", classmethod(other))
    assert failed() == "folder"


def test_the_command(capsys):
    main(["survey", "llava"])
    assert "[1/1] llava: works, 16 image tokens\n1 of 1 work" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["survey", "pix2struct"])
    assert ended.value.code == 1
    assert "pix2struct: fails at prompt" in capsys.readouterr().out


def test_a_type_that_transformers_does_not_have_is_refused(capsys):
    assert main(["survey", "gema3"]) == 1
    assert "did you mean 'gemma3'?" in capsys.readouterr().err
