"""Pre-training batches: drawing, masks, and the loss against that of transformers."""

import numpy as np
import pytest
import torch
from torch import nn

from vlm4vla.backbones import build
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import FAMILIES
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.statements import Statement
from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective, named_locations

SENTENCE = "describe where is the red green blue block ? what colour"
WORDS = [*SENTENCE.split(), *(f"<loc{cell}>" for cell in range(16))]


def make(family):
    size = TinySize(
        hidden=32,
        intermediate=32,
        layers=3,
        vision_hidden=32,
        vision_intermediate=32,
        experts=2,
        experts_per_token=1,
    )
    settings = Backbone(family=family, parameters_b=1, tiny=size, pretraining="any")
    return build(settings, family, WORDS, 64, 0)


@pytest.fixture(scope="module")
def train_split(questions):
    return read_questions(questions, "train")


MIXTURE = {"caption": 1.0, "where": 1.0, "colour": 0.5}


def test_texts_are_conversations(train_split):
    backbone = make("qwen3_vl")
    samples = QuestionBatches(backbone, train_split, {"caption": 1, "colour": 1}, 4, 0)
    inputs, answer_mask, labels = samples.batch(np.arange(4), np.random.default_rng(0))
    assert labels is None
    for row in range(4):
        random = np.random.default_rng(0)
        drawn = [samples.draw(image, random) for image in range(4)][row]
        turns = [(train_split.statements[n].question, train_split.statements[n].answer) for n in drawn]
        ids, mask = backbone.conversation_ids(turns)
        assert inputs["input_ids"][row, -len(ids) :].tolist() == ids
        assert answer_mask[row, -len(ids) :].int().tolist() == mask
        assert not answer_mask[row, : -len(ids)].any()


def test_mixture_gives_the_mean_number_of_each_set(train_split):
    mixture = {"caption": 0.25, "colour": 0.5}
    samples = QuestionBatches(make("paligemma"), train_split, mixture, 4, 0)
    random = np.random.default_rng(0)
    counts = dict.fromkeys(mixture, 0)
    for turn in range(2000):
        drawn = samples.draw(turn % len(train_split), random)
        assert len(drawn) == 1  # the sum of the means is below one
        for number in drawn:
            if train_split.statements[number].set in counts:
                counts[train_split.statements[number].set] += 1
    # A text is never empty: in 1 - (.25 + .5) of the draws, one of the three statements is chosen.
    filled = 0.25 / 3
    assert counts["caption"] / 2000 == pytest.approx(0.25 + filled, abs=0.04)
    assert counts["colour"] / 2000 == pytest.approx(0.5 + filled, abs=0.04)


def test_no_location_is_named_twice(train_split):
    samples = QuestionBatches(make("paligemma"), train_split, MIXTURE, 4, 0)
    for turn in range(200):
        drawn = samples.draw(turn % len(train_split), np.random.default_rng(turn))
        locations = [
            location for number in drawn for location in named_locations(train_split.statements[number])
        ]
        assert len(locations) == len(set(locations))


def test_locations_are_whole_coordinates():
    assert named_locations(Statement("pointing", "point to the cup", "<x07> <y12>")) == ["<x07> <y12>"]
    listed = Statement("caption", "describe", "cup <loc03> red block <loc27>")
    assert named_locations(listed) == ["<loc03>", "<loc27>"]
    assert named_locations(Statement("colour", "what colour ?", "red")) == []


def test_a_question_set_without_statements_is_an_error(train_split):
    with pytest.raises(UserError, match=r"no statement of the question set 'count'.*caption, colour, where"):
        QuestionBatches(make("paligemma"), train_split, {"count": 1.0}, 4, 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_that_of_the_whole_model(train_split, family):
    """The cross-entropy of answer tokens equals that of the model's logits with labels -100 elsewhere."""
    backbone = make(family)
    backbone.model.eval()
    samples = QuestionBatches(backbone, train_split, MIXTURE, 4, 0)
    inputs, answer_mask, labels = samples.batch(np.arange(6), np.random.default_rng(1))
    targets = torch.where(answer_mask, inputs["input_ids"], -100)
    logits = backbone.model(**inputs).logits
    expected = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())
    torch.testing.assert_close(
        QuestionObjective(backbone)((inputs, answer_mask, labels)), expected, atol=1e-5, rtol=1e-5
    )
