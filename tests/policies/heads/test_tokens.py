"""OpenVLA's head: the loss against transformers' own, greedy decoding without a cache, and the bins."""

import numpy as np
import pytest
import torch
from expert_policies import CHUNK, INSTRUCTIONS

from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.policies.heads.tokens import action_words, from_bins, to_bins


@pytest.fixture
def policy(make_policy):
    return make_policy("tokens")


def target_ids(policy, targets):
    gripper = 2.0 * targets["gripper"][..., None] - 1
    bins = to_bins(torch.cat([targets["pose"], gripper], dim=-1), 256).flatten(1)
    return policy.head.ids[bins]


def test_loss_equals_that_of_transformers(policy, inputs, targets):
    """Compare with the model's own loss on prompt and action words, with only unmasked words as labels."""
    words = target_ids(policy, targets)
    prompts = [policy.backbone.prompt_ids(text) for text in INSTRUCTIONS]
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    whole = policy.backbone.batch([p + w.tolist() for p, w in zip(prompts, words, strict=True)], images)
    labels = torch.full_like(whole["input_ids"], -100)
    labels[:, -CHUNK * ACTION_SIZE :] = words
    labels[1, -2 * ACTION_SIZE :] = -100  # two padded steps
    token_types = whole["token_type_ids"]
    with torch.no_grad():
        logits = policy.model(**whole).logits
        assert token_types.shape == labels.shape
        expected = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
        )
        found = policy.loss(inputs(policy), targets)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_greedy_decoding_equals_decoding_without_a_cache(policy, images):
    """Each word is the likeliest action word after the prompt and the words before it."""
    found = policy.predict(images, INSTRUCTIONS)
    ids = policy.head.ids
    for row, text in enumerate(INSTRUCTIONS):
        generated = []
        for _ in range(CHUNK * ACTION_SIZE):
            batch = policy.backbone.batch(
                [policy.backbone.prompt_ids(text) + generated], images[row : row + 1]
            )
            with torch.no_grad():
                logits = policy.model(**batch).logits[0, -1]
            generated.append(int(ids[logits[ids].argmax()]))
        numbers = torch.tensor([ids.tolist().index(word) for word in generated]).view(CHUNK, ACTION_SIZE)
        pose = from_bins(numbers, 256)[:, :6]
        np.testing.assert_allclose(found[row, :, :6], pose.numpy(), atol=1e-6)


def test_the_vocabulary_grows_by_the_action_words_only(policy, make_policy):
    base = make_policy("flow").backbone
    assert len(policy.backbone.tokenizer) - len(base.tokenizer) == 256
    assert set(action_words(256)) <= set(policy.backbone.tokenizer.get_vocab())


@pytest.mark.parametrize("bins", [2, 3, 256])
def test_decoding_inverts_encoding_to_half_a_bin(bins):
    actions = torch.cat([torch.linspace(-1, 1, 100_001), torch.tensor([-1.0, 0.0, 1.0])])
    numbers = to_bins(actions, bins)
    assert numbers.min() == 0
    assert numbers.max() == bins - 1
    assert (from_bins(numbers, bins) - actions).abs().max() <= 1 / bins + 1e-6


def test_every_bin_survives_a_round_trip():
    numbers = torch.arange(256)
    assert torch.equal(to_bins(from_bins(numbers, 256), 256), numbers)


def test_bins_equal_numpys_digitize():
    """OpenVLA uses digitize with equally spaced edges; inside the range both give the same bins."""
    actions = np.random.default_rng(0).uniform(-1, 1, 10_000)
    edges = np.linspace(-1, 1, 257)
    expected = np.clip(np.digitize(actions, edges) - 1, 0, 255)
    assert np.array_equal(to_bins(torch.from_numpy(actions), 256).numpy(), expected)


def test_values_outside_go_to_the_edge_bins():
    assert to_bins(torch.tensor([-3.0, 3.0]), 256).tolist() == [0, 255]
