"""ThinkAct's head: the plan is words about image points, and the actions read it."""

import numpy as np
import pytest
import torch
from expert_policies import INSTRUCTIONS

from vlm4vla.backbones.logits import logits
from vlm4vla.backbones.prompt_cache import Reading
from vlm4vla.data.questions.points import point


@pytest.fixture
def policy(make_policy):
    return make_policy("planned-flow", "qwen2_5_vl")


def test_a_plan_is_the_words_of_its_points(policy, targets):
    ids = policy.head.plan_ids(targets["plan"])
    for row, plan in zip(ids, targets["plan"], strict=True):
        expected = " ".join(point(place) for place in plan.tolist())
        assert policy.backbone.tokenizer.decode(row) == expected


def test_the_plan_that_is_said_is_the_likeliest(policy, inputs):
    """Columns and rows in turn, each the likeliest after what was said: read whole again for each word."""
    batch = inputs(policy)
    with torch.no_grad():
        reading = Reading(policy.backbone, batch)
        plan = policy.head.say_plan(policy.backbone, reading)
        words = policy.head.plan_ids(plan)
        again = Reading(policy.backbone, batch)
        states = torch.cat([again.hidden[:, -1:], again.on(words)[:, :-1]], dim=1)
        scores = logits(policy.backbone, states)
    for index in range(words.shape[1]):
        allowed = policy.head.ids[index % 2]
        assert torch.equal(allowed[scores[:, index][:, allowed].argmax(-1)], words[:, index])
    assert reading.hidden.shape[1] == batch["input_ids"].shape[1] + words.shape[1]


def test_the_actions_depend_on_the_plan(policy, images, monkeypatch):
    states, noise = np.zeros((2, 8), np.float32), np.zeros((2, 3, 7), np.float32)
    found = []
    for word in (0, 15):

        def say(backbone, reading, word=word):
            reading.on(policy.head.ids[[0, 1, 0, 1], word].expand(2, -1))

        monkeypatch.setattr(policy.head, "say_plan", say)
        found.append(policy.predict(images, INSTRUCTIONS, states, noise))
    assert np.abs(found[0] - found[1])[..., :6].max() > 1e-6
