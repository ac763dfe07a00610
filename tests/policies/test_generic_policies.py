"""Policies of backbones that have no adapter of their own: freezing, training, saving and loading."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones import load
from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.config.backbones import TinySize
from vlm4vla.config.policies import MlpHeadSettings
from vlm4vla.core.errors import UserError
from vlm4vla.policies.loading import load_policy
from vlm4vla.policies.policy import Policy

SIDE = 64
INSTRUCTIONS = ["open the drawer", "move the red block to the left of the large green bowl"]
WORDS = f"{' '.join(INSTRUCTIONS)} cupboard what action should robotic arm take".split()
HEAD = MlpHeadSettings(features=32, hidden=[32, 16], gripper_loss_weight=0.1)
STATISTICS = Statistics(
    "range", "calvin", np.full(6, -2.0, dtype=np.float32), np.full(6, 4.0, dtype=np.float32)
)

UNUSED = "model.model.vision_tower.head."  # SigLIP's pooling, which no image token comes from


@pytest.fixture(scope="module", params=["gemma3", "glm46v", "mllama", "qwen3_5"])
def folder(request, tmp_path_factory):
    target = tmp_path_factory.mktemp(request.param)
    model, processor = build_twin(request.param, TinySize(), WORDS, SIDE, seed=0)
    model.save_pretrained(target)
    processor.save_pretrained(target)
    return target


def make(folder):
    return Policy.create(load(folder), HEAD, 4, "calvin", STATISTICS, 0)


def inputs(policy):
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    return policy.backbone.batch([policy.backbone.prompt_ids(text) for text in INSTRUCTIONS], images)


def train(policy, steps):
    targets = {
        "pose": torch.linspace(-1, 1, 48).view(2, 4, 6),
        "gripper": torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]]),
        "mask": torch.ones(2, 4),
    }
    optimiser = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], 1e-3, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        loss = policy.loss(inputs(policy), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("what", ["none", "vision", "embedding"])
def test_frozen_weights_stay_and_all_others_change(folder, what):
    policy = make(folder)
    policy.freeze(what)
    before = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    losses = train(policy, 5)
    assert losses[-1] < losses[0]
    still = {name for name, weight in policy.named_parameters() if torch.equal(weight, before[name])}
    frozen = {name for name, weight in policy.named_parameters() if not weight.requires_grad}
    parts = {
        "none": [],
        "vision": policy.backbone.vision_encoder(),
        "embedding": [policy.backbone.word_embedding()],
    }[what]
    assert all(not weight.requires_grad for part in parts for weight in part.parameters())
    assert frozen <= still
    assert {name for name in still - frozen if not name.startswith(UNUSED)} == set()


def test_a_saved_policy_predicts_the_same_actions(folder, tmp_path):
    policy = make(folder)
    train(policy, 1)
    policy.save(tmp_path / "policy")
    again = load_policy(tmp_path / "policy")
    with torch.no_grad():
        for own, other in zip(policy(inputs(policy)), again(inputs(again)), strict=True):
            assert torch.equal(own, other)


def test_a_policy_of_another_adapter_is_refused(folder, tmp_path):
    make(folder).save(tmp_path / "policy")
    file = tmp_path / "policy" / "policy.json"
    record = json.loads(file.read_text())
    assert record.pop("adapter") == "generic"
    file.write_text(json.dumps(record))
    with pytest.raises(
        UserError, match=r"another adapter .* import the file that registers the family first"
    ):
        load_policy(tmp_path / "policy")
