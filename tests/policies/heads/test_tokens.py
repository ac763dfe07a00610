"""OpenVLA's head: next-token loss against transformers' own, and greedy decoding against a slow one."""

import numpy as np
import pytest
import torch
from expert_policies import CHUNK, INSTRUCTIONS

from vlm4vla.policies.heads.tokens import SIZE, action_words, from_bins, to_bins


@pytest.fixture
def policy(make_policy):
    return make_policy("tokens")


def words_of(policy, targets):
    gripper = 2.0 * targets["gripper"][..., None] - 1
    numbers = to_bins(torch.cat([targets["pose"], gripper], dim=-1), 256).flatten(1)
    return policy.head.ids[numbers]


def test_loss_is_transformers_own(policy, inputs, targets):
    """The model's own loss on prompt and words, with everything but unpadded action words left out."""
    words = words_of(policy, targets)
    prompts = [policy.backbone.prompt_ids(text) for text in INSTRUCTIONS]
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    whole = policy.backbone.batch([p + w.tolist() for p, w in zip(prompts, words, strict=True)], images)
    labels = torch.full_like(whole["input_ids"], -100)
    labels[:, -CHUNK * SIZE :] = words
    labels[1, -2 * SIZE :] = -100  # two padded steps
    token_types = whole["token_type_ids"]
    with torch.no_grad():
        logits = policy.model(**whole).logits
        assert token_types.shape == labels.shape
        expected = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
        )
        found = policy.loss(inputs(policy), targets)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_greedy_is_the_argmax_of_a_whole_reading(policy, images):
    """Each word is the likeliest action word after the prompt and the words before it."""
    found = policy.predict(images, INSTRUCTIONS)
    ids = policy.head.ids
    for row, text in enumerate(INSTRUCTIONS):
        said = []
        for _ in range(CHUNK * SIZE):
            batch = policy.backbone.batch([policy.backbone.prompt_ids(text) + said], images[row : row + 1])
            with torch.no_grad():
                logits = policy.model(**batch).logits[0, -1]
            said.append(int(ids[logits[ids].argmax()]))
        numbers = torch.tensor([ids.tolist().index(word) for word in said]).view(CHUNK, SIZE)
        pose = from_bins(numbers, 256)[:, :6]
        np.testing.assert_allclose(found[row, :, :6], pose.numpy(), atol=1e-6)


def test_the_vocabulary_grows_by_the_words_only(policy, make_policy):
    base = make_policy("flow").backbone
    assert len(policy.backbone.tokenizer) - len(base.tokenizer) == 256
    assert set(action_words(256)) <= set(policy.backbone.tokenizer.get_vocab())
