"""pi0's head against the model type `pi0` of transformers, with the same random weights.

transformers counts time backwards (1 is the noise) and learns the velocity towards the noise. A weight copied
from it therefore gives our velocity with the other sign, at the time 1 - t (docs/experts.md).
"""

import numpy as np
import pytest
import torch
from expert_policies import CHUNK, make
from pi0_models import EXPERT, pi0_like
from transformers import PI0Config
from transformers.models.pi0.modeling_pi0 import PI0TimestepEmbeddings

from vlm4vla.backbones.prompt_cache import PromptCache
from vlm4vla.config.layers import read_layers
from vlm4vla.config.reading import Reading
from vlm4vla.conventions.actions import ACTION_SIZE
from vlm4vla.conventions.scales import BASE, LAYERS
from vlm4vla.policies.heads.base import masked_mean, target_actions
from vlm4vla.policies.heads.flow_matching import LATEST, PERIODS, flow_errors, integrate, time_features

STATE = 8
TIMES = torch.tensor([0.999, 0.37])  # transformers' times of the two samples; 1 is the noise
# transformers computes the angles of the time in float32. The largest is 1571, which leaves errors of 1e-4.
TOLERANCE = {"atol": 5e-4, "rtol": 0}


@pytest.fixture(scope="module")
def pair():
    """Our policy, and transformers' model with the same weights, both in float64."""
    policy = make("flow", width=EXPERT["hidden_size"], intermediate=EXPERT["intermediate_size"])
    policy = policy.double().eval()
    policy.backbone = policy.backbone.read_as(Reading(attention="prefix"))
    paligemma = policy.backbone.model.config
    other = pi0_like(paligemma, chunk=CHUNK, state_size=STATE, action_size=ACTION_SIZE, dtype=torch.float64)
    copy_weights(other, policy)
    return policy, other


def copy_weights(other, policy):
    head, embedding = policy.head, other.embed_action_time
    policy.backbone.model.model.load_state_dict(other.model.vlm.state_dict())
    expert = other.model.dit.state_dict()
    del expert["embed_tokens.weight"]  # of words, which neither expert reads
    found = head.expert.load_state_dict(expert, strict=False)
    assert found.missing_keys == ["embed_tokens.weight"] and not found.unexpected_keys
    for ours, theirs in (
        (head.state_in, embedding.state_proj),
        (head.action_in, embedding.action_in_proj),
        (head.time_mixer[0], embedding.action_time_mlp_in),
        (head.time_mixer[2], embedding.action_time_mlp_out),
        (head.out, other.action_out_proj),
    ):
        ours.load_state_dict(theirs.state_dict())


@pytest.fixture
def batch(pair, inputs):
    """Two prompts of different lengths, ours padded on the left."""
    policy, _ = pair
    found = inputs(policy)
    return found | {"pixel_values": found["pixel_values"].double()}


@pytest.fixture
def theirs(batch):
    """The same prompts for transformers, padded on the right as its processor does."""
    ids, mask = batch["input_ids"].clone(), batch["attention_mask"].clone()
    for row in range(len(ids)):
        padding = int((mask[row] == 0).sum())
        ids[row], mask[row] = ids[row].roll(-padding), mask[row].roll(-padding)
    pixels = batch["pixel_values"][:, None]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": pixels,
        "pixel_attention_mask": torch.ones(pixels.shape[:2], dtype=torch.bool),
    }


@pytest.fixture
def sample(targets):
    """States, actions in [-1, 1], and noise."""
    noise = np.random.default_rng(3).standard_normal((2, CHUNK, ACTION_SIZE))
    found = {name: value.double() for name, value in targets.items() if name in ("state", "pose", "gripper")}
    return found["state"], target_actions(found), torch.from_numpy(noise)


def reversed_velocity(policy, batch, state):
    """Our velocity with transformers' sign and, for the features of the time, transformers' time."""
    prompt = PromptCache(policy.backbone, batch)
    return lambda x, times: -policy.head.velocity(prompt, state, x, 1 - times)


def test_the_prompt_is_read_alike(pair, batch, theirs):
    """Keys and values of each layer: the prefix attends to itself in both directions.

    Keys depend on the position, and ours are one position later, so only values are compared in each layer.
    Values from the second layer on depend on the attention of the layers before.
    """
    policy, other = pair
    with torch.no_grad():
        ours = PromptCache(policy.backbone, batch).layers
        embeddings = other.model.embed_prefix(
            theirs["input_ids"], theirs["pixel_values"], theirs["pixel_attention_mask"]
        )
        mask = theirs["attention_mask"]
        cache = other.model.vlm(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=mask.cumsum(-1) - 1,
            token_type_ids=torch.zeros_like(mask),
            use_cache=True,
        ).past_key_values
    for (_, values), layer in zip(ours, cache.layers, strict=True):
        for row in range(len(mask)):
            own = values[row][:, batch["attention_mask"][row].bool()]
            torch.testing.assert_close(own, layer.values[row][:, mask[row].bool()], atol=1e-5, rtol=0)


def test_the_usual_reading_of_tiny_backbones_is_another_one(pair, batch, theirs, sample):
    """With causal text, as tiny backbones are trained, the velocity differs: experts.pi0.reading matters."""
    policy, other = pair
    state, _, noise = sample
    causal = policy.backbone.adapter.read_as(Reading())
    types = causal.extras(batch["input_ids"] == causal.image_ids[0], batch["attention_mask"].bool())
    with torch.no_grad():
        expected = other(state=state, noise=noise, timestep=TIMES, **theirs).logits
        found = policy.head.velocity(
            PromptCache(policy.backbone, batch | types), state, noise, TIMES.double()
        )
    assert (found - expected).abs().max() > 0.05


def test_velocity(pair, batch, theirs, sample):
    """Attention, positions, norms, widths, projections and time features: one forward has them all."""
    policy, other = pair
    state, _, noise = sample
    with torch.no_grad():
        expected = other(state=state, noise=noise, timestep=TIMES, **theirs).logits
        found = policy.head.velocity(PromptCache(policy.backbone, batch), state, noise, TIMES.double())
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, **TOLERANCE)


def test_loss_and_its_gradient(pair, batch, theirs, sample, targets):
    """The same noisy actions and targets: transformers' mean over all steps is ours without padded steps."""
    policy, other = pair
    state, actions, noise = sample
    expected = other(state=state, noise=noise, timestep=TIMES, actions=actions, **theirs).loss
    errors = flow_errors(reversed_velocity(policy, batch, state), actions, noise, 1 - TIMES.double())
    found = masked_mean(errors, torch.ones(errors.shape))
    torch.testing.assert_close(found, expected, **TOLERANCE)
    found.backward()
    expected.backward()
    pairs = [(policy.head.expert, other.model.dit), (policy.backbone.model.model, other.model.vlm)]
    for ours, model in pairs:  # the loss trains the backbone, too
        gradients = {
            name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
        }
        assert len(gradients) > 10
        for name, weight in ours.named_parameters():
            if name in gradients and gradients[name].abs().max() > 1e-6:
                torch.testing.assert_close(weight.grad, gradients[name], atol=5e-3, rtol=1e-2, msg=name)
    policy.zero_grad()
    other.zero_grad()


def test_sampling(pair, batch, theirs, sample):
    """Euler's steps from the noise: transformers goes from time 1 to 0, ours from 0 to 1."""
    policy, other = pair
    state, _, noise = sample
    for steps in (10, 3):
        with torch.no_grad():
            expected = other.sample_actions(state=state, noise=noise, num_steps=steps, **theirs)
            found = integrate(reversed_velocity(policy, batch, state), noise, steps)
        torch.testing.assert_close(found, expected, **TOLERANCE)
    assert policy.head.steps == other.config.num_inference_steps == 10


def test_times_and_their_features():
    config = PI0Config()
    assert (config.min_period, config.max_period) == PERIODS
    # Our time is LATEST * (1 - u), and transformers' is scale * u + offset, u from Beta(1.5, 1).
    assert (config.time_sampling_beta_alpha, config.time_sampling_beta_beta) == (1.5, 1.0)
    assert config.time_sampling_scale == LATEST
    assert config.time_sampling_offset == pytest.approx(1 - LATEST)
    times = torch.rand(50, generator=torch.Generator().manual_seed(0))
    expected = PI0TimestepEmbeddings(config)(times)
    torch.testing.assert_close(
        time_features(times, config.dit_config.hidden_size), expected, atol=1e-3, rtol=0
    )


def test_paper_scale_has_the_sizes_of_the_released_model():
    config, expert = PI0Config(), read_layers([BASE, *LAYERS["paper"]]).experts["pi0"]
    sizes = config.dit_config
    assert (expert.head.width, expert.head.intermediate) == (sizes.hidden_size, sizes.intermediate_size)
    assert expert.head.integration_steps == config.num_inference_steps
    assert expert.reading.attention == "prefix"
