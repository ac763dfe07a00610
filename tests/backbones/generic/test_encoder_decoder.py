"""Encoder-decoder models: the encoder reads the prompt, and the decoder the answers or the action query."""

from types import SimpleNamespace

import pytest
import torch

from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.backbones.generic.kinds import generic_adapter_class
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.logits import greedy_answers, hidden_states, logits
from vlm4vla.config.backbones import TinySize
from vlm4vla.core.errors import UserError

SIDE = 64
WORDS = f"{layouts.LONG} {layouts.SHORT} what action should robotic arm".split()
CONVERSATIONS = (
    [("open the drawer", "robotic arm"), ("what action", "to the left of")],
    [("move the red block to the", "open")],
)
TYPES = ["florence2", "t5gemma2"]


def loaded(model_type: str, starts_with_end: bool = False) -> LoadedBackbone:
    model, processor = build_twin(model_type, TinySize(), WORDS, SIDE, seed=0)
    if starts_with_end:
        model.config.text_config.decoder_start_token_id = processor.tokenizer.eos_token_id
    adapter = generic_adapter_class(model.config)(model.config, processor, SIDE, model_type)
    return LoadedBackbone(model, processor.tokenizer, processor.image_processor, adapter)


# Released Florence-2 models start the decoder with the token that also ends the prompt and every answer.
@pytest.mark.parametrize(
    ("model_type", "starts_with_end"), [*((each, False) for each in TYPES), (TYPES[0], True)]
)
@torch.no_grad()
def test_the_answers_of_a_conversation_are_the_decoders_words(model_type, starts_with_end):
    backbone = loaded(model_type, starts_with_end)
    images = layouts.random_images(2, SIDE)
    ids = [backbone.conversation_ids(each)[0] for each in CONVERSATIONS]
    states = hidden_states(backbone, backbone.batch(ids, images))
    for row, ((question, _), *_) in enumerate(CONVERSATIONS):
        start = len(backbone.question_ids(question)) - 1
        pixels = backbone.encode_images(images[row : row + 1])["pixel_values"]
        expected = backbone.model(
            input_ids=torch.tensor([ids[row][:start]]),
            decoder_input_ids=torch.tensor([ids[row][start:]]),
            pixel_values=pixels,
        ).logits[0]
        assert ids[row][start] == backbone.adapter.start_id
        torch.testing.assert_close(
            logits(backbone, states[row, -len(expected) :]), expected, atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_an_answer_is_what_the_model_generates(model_type):
    backbone = loaded(model_type)
    images, question = layouts.random_images(1, SIDE), "move the red block"
    ids = backbone.question_ids(question)[:-1]
    generated = backbone.model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        pixel_values=backbone.encode_images(images)["pixel_values"],
        decoder_start_token_id=backbone.adapter.start_id,
        forced_eos_token_id=None,
        max_new_tokens=5,
        do_sample=False,
    )
    assert greedy_answers(backbone, images, [question], 5) == [backbone.decode(generated[0, 1:].tolist())]


def test_a_sequence_without_the_start_token_is_an_error():
    backbone = loaded("t5gemma2")
    batch = backbone.batch([backbone.prompt_ids("open the drawer")[:-1]], layouts.random_images(1, SIDE))
    with pytest.raises(ValueError, match="needs the start token of the decoder"):
        hidden_states(backbone, batch)


def test_an_encoder_that_reads_no_text_is_refused():
    config = SimpleNamespace(is_encoder_decoder=True, model_type="pix2struct")
    with pytest.raises(UserError, match="study: its encoder reads an image only"):
        generic_adapter_class(config)(config, None, SIDE, "study")
