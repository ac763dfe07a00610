"""A backbone of assembled parts, small and with random weights: its numbers, its folder, and its variants."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from small_parts import (
    WIDTH,
    channels,
    lite_features,
    lite_tensors,
    small_backbone,
    small_language,
    small_tokenizer,
)
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones import load
from vlm4vla.backbones.assembly.language import first_layers
from vlm4vla.backbones.assembly.vision import lite_config, read_weights, vision_encoder
from vlm4vla.backbones.generic.convolutions import OpenSqueezeExcitation
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.core.errors import UserError
from vlm4vla.policies.loading import load_policy
from vlm4vla.policies.policy import Policy
from vlm4vla.stages.vla import random_like

SAME = 1e-5
SIDE = 64
INSTRUCTIONS = ["open the drawer", "move the red block to the left of the large green bowl"]
HEAD = MlpHeadSettings(features=32, hidden=[32, 16], gripper_loss_weight=0.1)
STATISTICS = Statistics(
    "range", "calvin", np.full(6, -2.0, dtype=np.float32), np.full(6, 4.0, dtype=np.float32)
)


def pictures(count, side=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("assembled") / "backbone"
    small_backbone().save(target)
    return target


def normalisations(model):
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def statistics(model):
    return [each.clone() for norm in normalisations(model) for each in (norm.running_mean, norm.running_var)]


# Vision encoder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 96, 160])
def test_features_are_those_of_the_published_network(size):
    tensors = lite_tensors()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        found = vision_encoder(tensors, lite_config(size, WIDTH)).double()(images).last_hidden_state
    expected = lite_features(tensors, images, WIDTH)
    assert found.shape == (2, channels(1280, WIDTH), size // 32, size // 32)
    assert 0.1 < (expected > 0).double().mean() < 0.9  # neither cut off at 0 everywhere
    assert (expected == 6).double().mean() < 0.5  # nor at 6
    assert (found - expected).abs().max() < SAME


def test_a_tensor_that_is_missing_unknown_or_of_another_shape_is_told():
    config, tensors = lite_config(SIDE, WIDTH), lite_tensors()
    name = "_blocks.3._bn1.running_var"
    less = {key: value for key, value in tensors.items() if key != name}
    with pytest.raises(UserError, match=r"no tensor for encoder.blocks.3.*running_var and 0 others"):
        vision_encoder(less, config)
    with pytest.raises(UserError, match=r"a tensor '_blocks.3._se_reduce.weight', which EfficientNet-Lite0"):
        vision_encoder(tensors | {"_blocks.3._se_reduce.weight": torch.zeros(1)}, config)
    with pytest.raises(UserError, match=r"running_var, \(5,\), which does not fit"):
        vision_encoder(tensors | {name: torch.zeros(5)}, config)


class Runs:
    def __reduce__(self):
        return print, ("this was run",)


def test_only_tensors_are_unpickled(tmp_path, capsys):
    torch.save({"a": torch.ones(2), "b": Runs()}, tmp_path / "code.pth")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("code", "list", "empty"):
        with pytest.raises(UserError, match=f"{name}.pth: not a file of tensors") as error:
            read_weights(tmp_path / f"{name}.pth")
        assert len(str(error.value).splitlines()) == 1
    assert capsys.readouterr().out == ""


# Language model -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_states_of_the_kept_layers_are_those_of_the_whole_model(layers):
    words = len(small_tokenizer())
    ids = torch.randint(0, words - 1, (2, 9), generator=torch.Generator().manual_seed(0))
    whole = small_language(words - 1)
    with torch.no_grad():
        states = whole.model(ids, output_hidden_states=True).hidden_states
        kept = whole.model.norm(states[layers]) if layers < 5 else states[layers]
        part = first_layers(small_language(words - 1), layers, words)
        found = part.model(ids, output_hidden_states=True)
    assert len(part.model.layers) == part.config.num_hidden_layers == layers
    for own, other in zip(found.hidden_states[:-1], states, strict=False):
        assert (own - other).abs().max() < SAME
    assert (found.last_hidden_state - kept).abs().max() < SAME
    rows = part.get_input_embeddings().weight
    assert torch.equal(rows[:-1], whole.get_input_embeddings().weight)
    assert part.lm_head.weight is rows


@pytest.mark.parametrize("layers", [0, 6, -1])
def test_a_number_of_layers_that_the_model_does_not_have(layers):
    with pytest.raises(UserError, match=rf"--layers {layers}: the language model has 5 layers"):
        first_layers(small_language(300), layers, 301)


# Folder ---------------------------------------------------------------------------------------------------


def test_transformers_loads_the_folder_without_further_code(folder):
    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, trust_remote_code=False, output_loading_info=True
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    processor = AutoProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
    conversation = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": INSTRUCTIONS[0]}]}
    ]
    text = processor.apply_chat_template(conversation, add_generation_prompt=True)
    given = processor(text=[text], images=[[pictures(1)[0]]], return_tensors="pt")
    own = load(folder)
    assert given["input_ids"][0].tolist() == own.question_ids(INSTRUCTIONS[0])
    # The published preprocessing: (pixel - 127) / 128
    expected = (torch.from_numpy(pictures(1)).permute(0, 3, 1, 2).double() - 127) / 128
    assert (given["pixel_values"] - expected).abs().max() < SAME
    with torch.no_grad():
        logits = model.eval()(**given).logits[0]
        states = own.adapter.hidden_states(
            own.model, own.batch([own.question_ids(INSTRUCTIONS[0])], pictures(1))
        )
        assert (own.adapter.logits(own.model, states)[0] - logits).abs().max() < SAME


def test_the_folder_names_no_path_of_the_machine_that_wrote_it(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "fast_vlm" and config["vision_config"]["model_type"] == "efficientnet"
    for part in (config, config["text_config"], config["vision_config"]):
        assert not {"_name_or_path", "_model_name_or_path", "auto_map", "quantization_config"} & part.keys()


def test_an_image_token_is_the_projected_feature_of_its_place(folder):
    """Token 0 belongs to the corner at the top left, and so on, row by row."""
    backbone = load(folder)
    backbone.model.double()
    assert backbone.adapter.image_tokens == 4
    pixels = backbone.encode_images(pictures(1))["pixel_values"].double()
    with torch.no_grad():
        tokens = backbone.model.get_image_features(pixel_values=pixels).pooler_output
        features = lite_features(lite_tensors(), pixels, WIDTH)[0].flatten(1).T
        assert (tokens[0] - backbone.model.model.multi_modal_projector(features)).abs().max() < SAME


# Variants -------------------------------------------------------------------------------------------------


def inputs(policy, count=2):
    ids = [policy.backbone.prompt_ids(text) for text in INSTRUCTIONS[:count]]
    return policy.backbone.batch(ids, pictures(count))


def make(backbone):
    return Policy.create(backbone, HEAD, 4, "calvin", STATISTICS, 0)


def train(policy, steps):
    targets = {
        "pose": torch.linspace(-1, 1, 48).view(2, 4, 6),
        "gripper": torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]]),
        "mask": torch.ones(2, 4),
    }
    optimiser = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], 1e-3, weight_decay=0.0)
    policy.train()
    losses = []
    for _ in range(steps):
        loss = policy.loss(inputs(policy), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("what", ["none", "vision", "embedding"])
def test_frozen_weights_and_all_statistics_stay(folder, what):
    policy = make(load(folder))
    policy.freeze(what)
    before = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    measured = statistics(policy)
    losses = train(policy, 6)
    assert losses[-1] < losses[0]
    assert all(map(torch.equal, statistics(policy), measured))
    still = {name for name, weight in policy.named_parameters() if torch.equal(weight, before[name])}
    frozen = {name for name, weight in policy.named_parameters() if not weight.requires_grad}
    prefix = {
        "none": "nothing",
        "vision": "model.model.vision_tower.",
        "embedding": "model.model.language_model.embed",
    }
    assert {name for name in before if name.startswith(prefix[what])} <= frozen <= still
    assert all(".squeeze_excite." in name for name in still - frozen)


def test_batch_normalisation_is_never_in_training_mode(folder):
    """Neither by `train()`, nor in a copy, nor after the evaluation of a policy in the middle of training."""
    policy = make(load(folder)).train()
    assert len(normalisations(policy)) == 49 and policy.training
    policy.predict(pictures(2), INSTRUCTIONS)
    for each in (policy, random_like(policy.backbone, 0).model.train()):
        assert not any(norm.training for norm in normalisations(each))


def test_the_state_of_a_sample_in_training_does_not_depend_on_the_others(folder):
    policy = make(load(folder)).train()
    query = torch.linspace(-1, 1, policy.backbone.hidden_size)
    with torch.no_grad():
        both = policy.backbone.hidden(inputs(policy), query)
        alone = policy.backbone.hidden(inputs(policy, 1), query)
    assert (both[:1] - alone).abs().max() < SAME


def test_a_saved_policy_acts_as_before(folder, tmp_path):
    policy = make(load(folder))
    train(policy, 3)
    policy.eval()
    policy.save(tmp_path / "policy")
    again = load_policy(tmp_path / "policy")
    assert all(map(torch.equal, statistics(again), statistics(policy)))
    # A picture of the study's size, and a larger one, which the image processor resizes.
    for side in (SIDE, 100):
        picture = pictures(1, side, seed=3)[0]
        assert np.array_equal(policy.act(picture, INSTRUCTIONS[0]), again.act(picture, INSTRUCTIONS[0]))


def test_scratch_has_the_same_network_with_weights_that_let_images_through(folder):
    backbone = load(folder)
    own, same, other = (random_like(backbone, seed) for seed in (0, 0, 1))
    weights = dict(own.model.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in same.model.named_parameters())
    stem = "model.vision_tower.embeddings.convolution.weight"
    assert not torch.equal(weights[stem], dict(other.model.named_parameters())[stem])
    assert not torch.equal(weights[stem], dict(backbone.model.named_parameters())[stem])
    opened = [module for module in own.model.modules() if isinstance(module, OpenSqueezeExcitation)]
    assert len(opened) == 16  # no squeeze-excitation, as in the checkpoint
    policy = make(own).train()
    query = torch.linspace(-1, 1, own.hidden_size)
    ids = [own.prompt_ids(INSTRUCTIONS[0])] * 2
    states = own.hidden(own.batch(ids, pictures(2)), query)
    assert (states[0] - states[1]).abs().max() > 1e-3
    measured = statistics(policy)
    before = weights[stem].detach().clone()
    train(policy, 3)
    assert all(map(torch.equal, statistics(policy), measured))
    assert not torch.equal(before, weights[stem])


def test_statistics_of_scratch_are_those_of_its_own_activations(folder):
    """Each channel of each layer has a mean of 0 and a variance of 1 for images of random cells."""
    network = random_like(load(folder), 0).model.model.vision_tower
    found = []
    for norm in normalisations(network):
        norm.register_forward_hook(lambda module, given, output: found.append(output.detach()))
    cells = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        network(torch.nn.functional.interpolate(cells, size=SIDE))
    means = torch.stack([each.mean() for each in found])
    variances = torch.stack([each.var() for each in found])
    assert len(found) == 49
    assert means.abs().max() < 0.5 and variances.min() > 0.5 and variances.max() < 3
