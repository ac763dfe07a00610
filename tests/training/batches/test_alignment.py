"""Alignment of image tokens with words: the loss computed by hand, the labels, and the image tokens."""

import math

import numpy as np
import pytest
import torch
from test_question_batches import make

from vlm4vla.backbones.logits import hidden_states
from vlm4vla.core.errors import UserError
from vlm4vla.core.registry import FAMILIES
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.training.batches.alignment import (
    Alignment,
    AlignmentBatches,
    AlignmentObjective,
    PatchLabels,
)
from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective
from vlm4vla.training.loop import train


@pytest.fixture(scope="module")
def train_split(questions):
    return read_questions(questions, "train")


def test_loss_is_the_logistic_loss_of_scaled_cosines():
    backbone = make("paligemma")
    ids = torch.tensor([5, 9, 11])
    alignment = Alignment(backbone, ids)
    tokens = torch.randn(2, 4, backbone.hidden_size, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 4, 3, dtype=torch.bool)
    labels[0, 1, 2] = labels[1, 3, 0] = True
    total = 0.0
    words = backbone.word_embedding().weight.detach().double().numpy()[ids]
    for image in range(2):
        for patch in range(4):
            token = tokens[image, patch].double().numpy()
            for word in range(3):
                cosine = token @ words[word] / np.linalg.norm(token) / np.linalg.norm(words[word])
                score = 10 * cosine - 4
                sign = 1 if labels[image, patch, word] else -1
                total += math.log1p(math.exp(-sign * score))
    assert alignment(tokens, labels).item() == pytest.approx(total / 8, rel=1e-5)
    assert alignment(tokens.flatten(0, 1), labels).item() == pytest.approx(total / 8, rel=1e-5)


def test_names_and_cells_are_labels_of_their_patch(train_split):
    backbone = make("paligemma")
    patch_labels = PatchLabels(backbone, train_split)
    words = [backbone.tokenizer.decode([int(i)]) for i in patch_labels.word_ids]
    assert "where" not in words and "the" not in words  # words of every question name nothing
    for image in range(6):
        (statement,) = [
            train_split.statements[n]
            for n in train_split.statement_numbers(image)
            if train_split.statements[n].set == "where"
        ]
        cell = int(statement.answer[4:-1])
        found = patch_labels.labels(np.array([image]))[0]
        assert found.sum() == found[(cell // 8) // 2 * 4 + (cell % 8) // 2].sum()
        labelled = {words[column] for column in found.any(0).nonzero().flatten().tolist()}
        assert labelled == {statement.question.split()[3], statement.answer}


def test_alignment_needs_statements_about_locations(train_split):
    other = [statement._replace(set="caption") for statement in train_split.statements]
    train_split = type(train_split)(**{**train_split.__dict__, "statements": other})
    with pytest.raises(UserError, match="alignment: null"):
        PatchLabels(make("paligemma"), train_split)


@pytest.mark.parametrize("family", FAMILIES)
def test_alignment_sees_the_tokens_that_the_language_model_reads(train_split, family):
    backbone = make(family)
    backbone.model.eval()
    batch = QuestionBatches(backbone, train_split, {"where": 1.0}, 4, 0).batch(
        np.arange(3), np.random.default_rng(0)
    )
    with backbone.adapter.image_states_kept(backbone.model) as read:
        hidden_states(backbone, batch[0])
    with backbone.adapter.image_states_kept(backbone.model) as alone:
        backbone.adapter.see(backbone.model, backbone.encode_images(train_split.images(np.arange(3))))
    assert len(read) == len(alone) == 1
    assert read[0].numel() == 3 * backbone.adapter.image_tokens * backbone.hidden_size
    torch.testing.assert_close(alone[0], read[0], atol=1e-6, rtol=1e-6)


def test_alignment_teaches_the_vision_encoder(tmp_path, train_split, backbone_settings):
    backbone = make("paligemma")
    patch_labels = PatchLabels(backbone, train_split)
    objective = AlignmentObjective(backbone, Alignment(backbone, patch_labels.word_ids))
    samples = AlignmentBatches(backbone, patch_labels, 16, 0)
    batch = samples.batch(np.arange(16), np.random.default_rng(0))
    text = [p.clone() for p in backbone.model.model.language_model.layers.parameters()]
    with torch.no_grad():
        before = objective(batch).item()
    training = backbone_settings.recipe.training.model_copy(update={"steps": 60, "checkpoint_every": 60})
    train(objective, samples, training=training, seed=0, folder=tmp_path, identity={}, title="alignment")
    with torch.no_grad():
        assert objective(batch).item() < 0.7 * before
    layers = backbone.model.model.language_model.layers.parameters()
    assert all(torch.equal(old, new) for old, new in zip(text, layers, strict=True))


def test_weight_adds_the_loss_to_that_of_the_next_tokens(train_split):
    backbone = make("qwen3_vl")
    backbone.model.eval()
    patch_labels = PatchLabels(backbone, train_split)
    alignment = Alignment(backbone, patch_labels.word_ids)
    samples = QuestionBatches(backbone, train_split, {"where": 1.0}, 4, 0, patch_labels)
    batch = samples.batch(np.arange(4), np.random.default_rng(0))
    alone = AlignmentObjective(backbone, alignment)
    images = AlignmentBatches(backbone, patch_labels, 4, 0).batch(np.arange(4), np.random.default_rng(0))
    expected = QuestionObjective(backbone)(batch) + 0.5 * alone(images)
    torch.testing.assert_close(QuestionObjective(backbone, alignment, 0.5)(batch), expected)
