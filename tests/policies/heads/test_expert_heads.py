"""Tests for every expert head: it learns, it uses its inputs, and it survives saving and loading."""

import numpy as np
import pytest
import torch
from expert_policies import CHUNK, INSTRUCTIONS, SETTINGS

from vlm4vla.policies.policy import Policy

KINDS = list(SETTINGS)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def predict(policy, images, states=None, noise=None):
    states = np.zeros((2, 8), np.float32) if states is None else states
    noise = np.zeros((2, CHUNK, 7), np.float32) if noise is None else noise
    return policy.predict(images, INSTRUCTIONS, states, noise)


@pytest.mark.parametrize(
    ("kind", "family"), [("tokens", "qwen2_5_vl"), ("flow", "paligemma"), ("planned-flow", "qwen3_vl")]
)
def test_a_few_samples_can_be_memorised(kind, family, make_policy, inputs, targets, images):
    """After training on two samples, the head predicts their actions, up to the head's resolution."""
    policy = make_policy(kind, family)
    batch = inputs(policy)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=3e-3, weight_decay=0)
    policy.train()
    torch.manual_seed(0)
    losses = []
    for _ in range(250):
        loss = policy.loss(batch, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    states = 2 * targets["state"].numpy() + np.arange(8)  # unscaled
    noise = np.random.default_rng(0).normal(size=(2, CHUNK, 7))
    found = predict(policy, images, states, noise)
    real = targets["mask"].bool().numpy()
    expected = targets["pose"].numpy()[real]
    error = np.abs(found[..., :6][real] - expected).mean()
    swapped_error = np.abs(found[::-1][..., :6][real] - expected).mean()
    assert error < 0.35
    assert error < 0.6 * swapped_error  # the head distinguishes the two samples
    assert np.array_equal(found[..., 6][real] > 0.5, targets["gripper"].numpy()[real] > 0.5)


def test_padded_steps_do_not_count(kind, make_policy, inputs, targets):
    policy = make_policy(kind)
    batch = inputs(policy)

    def loss(pose, mask):
        torch.manual_seed(0)
        with torch.no_grad():
            return policy.loss(batch, targets | {"pose": pose, "mask": mask}).item()

    other = targets["pose"].clone()
    other[1, -1] = -other[1, -1]
    everywhere = torch.ones_like(targets["mask"])
    if policy.head.samples:  # noisy steps attend to each other, so the mask removes only their own error
        assert loss(targets["pose"], targets["mask"]) != loss(targets["pose"], everywhere)
    else:
        assert loss(targets["pose"], targets["mask"]) == loss(other, targets["mask"])
        assert loss(targets["pose"], everywhere) != loss(other, everywhere)


def test_gradients_reach_the_vision_encoder(kind, make_policy, inputs, targets):
    policy = make_policy(kind)
    policy.loss(inputs(policy), targets).backward()
    gradients = [p.grad for module in policy.backbone.vision_encoder() for p in module.parameters()]
    assert sum(g is not None and g.abs().max() > 0 for g in gradients) > len(gradients) / 2


def test_the_state_matters_only_to_heads_that_read_it(kind, make_policy, images):
    policy = make_policy(kind)
    one, other = (predict(policy, images, states=np.full((2, 8), v, np.float32)) for v in (0, 5))
    assert np.array_equal(one, other) == (not policy.head.reads_state)


def test_noise_matters_only_to_heads_that_sample(kind, make_policy, images):
    policy = make_policy(kind)
    one, again, other = (
        predict(policy, images, noise=np.full((2, CHUNK, 7), v, np.float32)) for v in (0, 0, 0.5)
    )
    assert np.array_equal(one, again)
    assert np.array_equal(one, other) == (not policy.head.samples)


def test_a_head_that_reads_the_state_requires_one(kind, make_policy, images):
    policy = make_policy(kind)
    if policy.head.reads_state:
        with pytest.raises(ValueError, match="needs states"):
            policy.predict(images, INSTRUCTIONS)
    else:
        assert policy.predict(images, INSTRUCTIONS).shape == (2, CHUNK, 7)


def test_folder_round_trip(kind, make_policy, images, tmp_path):
    policy = make_policy(kind)
    policy.save(tmp_path)
    again = Policy.load(tmp_path)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in policy.state_dict().items()
    }
    for name, value in policy.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    noise = np.random.default_rng(0).normal(size=(2, CHUNK, 7))
    found, expected = (predict(each, images, noise=noise) for each in (again, policy))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_samples_in_the_batch_do_not_matter(kind, make_policy, images):
    """The shorter prompt is padded in the batch of two, but not on its own."""
    policy = make_policy(kind)
    states = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(2, CHUNK, 7))
    both = predict(policy, images, states, noise)
    alone = policy.predict(images[1:], INSTRUCTIONS[1:], states[1:], noise[1:])
    np.testing.assert_allclose(both[1:], alone, atol=1e-4)
