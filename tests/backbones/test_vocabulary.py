"""Adding and removing words leaves the backbone's other words and outputs unchanged."""

import copy

import torch

from vlm4vla.backbones import load
from vlm4vla.backbones.vocabulary import add_words, missing_words, remove_added_words

NEW = ["<act0>", "<act1>", "wide", "block", "<act0>"]  # "block" is known, and "<act0>" occurs twice


def rows(backbone) -> int:
    return backbone.model.get_input_embeddings().weight.shape[0]


def hidden(backbone, images, instructions):
    ids = [backbone.prompt_ids(instruction) for instruction in instructions]
    query = torch.linspace(-1, 1, backbone.hidden_size)
    with torch.inference_mode():
        return backbone.hidden(backbone.batch(ids, images), query)


def test_only_missing_words_are_added(fresh):
    backbone = fresh()
    before, words = rows(backbone), len(backbone.tokenizer)
    assert missing_words(backbone, NEW) == ["<act0>", "<act1>", "wide"]
    grown = add_words(backbone, NEW)
    assert len(grown.tokenizer) == words + 3 and rows(grown) == max(before, words + 3)
    assert not missing_words(grown, NEW)
    assert add_words(grown, NEW) is grown
    ids = grown.adapter.encode("put <act1> in wide block <act0>")
    assert len(ids) == 6 and grown.tokenizer.unk_token_id not in ids


def test_new_rows_are_the_mean_and_old_rows_stay(fresh):
    backbone = fresh()
    old = backbone.model.get_input_embeddings().weight.detach().clone()
    grown = add_words(backbone, NEW)
    new = grown.model.get_input_embeddings().weight.detach()
    torch.testing.assert_close(new[: len(old)], old, rtol=0, atol=0)
    torch.testing.assert_close(new[len(old) :], old.mean(0).expand(len(new) - len(old), -1))
    assert grown.model.get_output_embeddings().weight.shape[0] == len(new)


def test_adding_and_removing_words_changes_no_output(fresh, images, instructions):
    backbone = fresh()
    tokenizer, count = copy.deepcopy(backbone.tokenizer), rows(backbone)
    before = hidden(backbone, images, instructions)
    grown = add_words(backbone, NEW)
    torch.testing.assert_close(hidden(grown, images, instructions), before, rtol=0, atol=1e-6)
    again = remove_added_words(grown, tokenizer, count)
    assert rows(again) == count and missing_words(again, NEW) == ["<act0>", "<act1>", "wide"]
    torch.testing.assert_close(hidden(again, images, instructions), before, rtol=0, atol=1e-6)


def test_grown_backbone_is_an_ordinary_folder(fresh, images, instructions, tmp_path):
    grown = add_words(fresh(), NEW)
    grown.save(tmp_path)
    loaded = load(tmp_path)
    assert not missing_words(loaded, NEW) and rows(loaded) == rows(grown)
    expected = hidden(grown, images, instructions)
    torch.testing.assert_close(hidden(loaded, images, instructions), expected, rtol=0, atol=1e-6)
