"""Conversion of text to ids and back, and batches."""

import numpy as np
import pytest
import torch

PROMPTS = {
    "qwen": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
    "{image}<|vision_end|>What action should the robotic arm take to {text}<|im_end|>\n"
    "<|im_start|>assistant\n",
    "internvl": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<img>{image}"
    "</img>What action should the robotic arm take to {text}<|im_end|>\n<|im_start|>assistant\n",
    "paligemma": "{image}<s>{text}\n",
    "kosmos-2": "<s><image>{image}</image><p>{text}\n</p>",
}


def test_prompt_follows_the_familys_template(backbone, family):
    text = "pick up the red block"
    template = next(value for key, value in PROMPTS.items() if family.startswith(key))
    tokens = backbone.tokenizer.convert_ids_to_tokens(backbone.prompt_ids(text))
    image = backbone.tokenizer.convert_ids_to_tokens(backbone.adapter.image_ids)
    expected = template.format(image="".join(image), text=text)
    assert "".join(tokens).replace(" ", "") == expected.replace(" ", "")  # word tokens hold no spaces
    assert len(tokens) <= 28  # with five words
    assert backbone.prompt_ids(text) is backbone.prompt_ids(text)


def test_kosmos_placeholders_follow_the_unknown_token(backbone, family):
    if family == "kosmos-2":
        first = backbone.tokenizer.unk_token_id + 1
        assert backbone.adapter.image_ids == list(range(first, first + 16))
    else:
        assert len(set(backbone.adapter.image_ids)) == 1


def test_conversation_targets_are_answers_and_end_tokens(backbone):
    turns = [("where is the red block ?", "<loc3>"), ("describe", "red block <loc4>")]
    ids, is_target = backbone.conversation_ids(turns)
    assert len(ids) == len(is_target)
    assert ids[: len(backbone.question_ids(turns[0][0]))] == backbone.question_ids(turns[0][0])
    targets = [token for token, target in zip(ids, is_target, strict=True) if target]
    assert targets == backbone.answer_ids("<loc3>") + backbone.answer_ids("red block <loc4>")
    assert backbone.tokenizer.unk_token_id not in ids
    assert ids.count(backbone.end_id) >= 2


def test_decode_stops_at_the_end_token(backbone):
    ids = backbone.answer_ids("red block <loc4>")
    assert backbone.decode(ids) == "red block <loc4>"
    assert backbone.decode(ids + backbone.adapter.encode("green")) == "red block <loc4>"


def test_words_are_lower_cased_and_unknown_words_are_marked(backbone):
    assert backbone.adapter.encode("Red BLOCK") == backbone.adapter.encode("red block")
    assert backbone.adapter.encode("zebra") == [backbone.tokenizer.unk_token_id]


def test_batch_pads_on_the_left(backbone, images, instructions):
    ids = [backbone.prompt_ids(text) for text in instructions]
    batch = backbone.batch(ids, images)
    longest = max(map(len, ids))
    assert batch["input_ids"].shape == (3, longest)
    for row, mask, sequence in zip(batch["input_ids"], batch["attention_mask"], ids, strict=True):
        assert row[mask.bool()].tolist() == sequence
        assert mask.tolist() == [0] * (longest - len(sequence)) + [1] * len(sequence)
    first, last = (batch["position_ids"][..., i, -len(ids[2]) :] for i in (0, 2))
    assert torch.equal(batch["position_ids"][..., 2, -len(ids[2]) :], last)
    assert not torch.equal(first, last)  # the longer prompt has larger positions


def test_batch_longer_than_the_position_table(backbone, images):
    ids = backbone.prompt_ids(" ".join(["pick up the red block"] * 20))
    assert len(ids) > 64
    batch = backbone.batch([ids], images[:1])
    steps = batch["position_ids"][..., 0, -10:].diff(dim=-1)
    assert (steps == 1).all()


@pytest.mark.parametrize("bad", [np.zeros((2, 64, 64, 3), np.float32), np.zeros((64, 64, 3), np.uint8)])
def test_wrong_images_are_rejected(backbone, bad):
    with pytest.raises(ValueError, match="images must be uint8 of shape"):
        backbone.encode_images(bad)
