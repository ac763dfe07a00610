"""ThinkAct's head: the plan consists of words for image points, and the actions depend on the plan."""

import numpy as np
import pytest
import torch
from expert_policies import INSTRUCTIONS

from vlm4vla.backbones.logits import logits
from vlm4vla.backbones.prompt_cache import PromptCache
from vlm4vla.data.questions.statements import point_words


@pytest.fixture
def policy(make_policy):
    return make_policy("planned-flow", "qwen2_5_vl")


def test_plan_ids_are_the_words_of_the_points(policy, targets):
    ids = policy.head.plan_ids(targets["plan"])
    for row, plan in zip(ids, targets["plan"], strict=True):
        expected = " ".join(point_words(position) for position in plan.tolist())
        assert policy.backbone.tokenizer.decode(row) == expected


def test_the_generated_plan_is_greedy(policy, inputs):
    """Each column and row is the likeliest word after the words before it, checked by a second pass."""
    batch = inputs(policy)
    with torch.no_grad():
        prompt = PromptCache(policy.backbone, batch)
        plan = policy.head.generate_plan(policy.backbone, prompt)
        words = policy.head.plan_ids(plan)
        again = PromptCache(policy.backbone, batch)
        states = torch.cat([again.hidden[:, -1:], again.append(words)[:, :-1]], dim=1)
        scores = logits(policy.backbone, states)
    for index in range(words.shape[1]):
        allowed = policy.head.ids[index % 2]
        assert torch.equal(allowed[scores[:, index][:, allowed].argmax(-1)], words[:, index])
    assert prompt.hidden.shape[1] == batch["input_ids"].shape[1] + words.shape[1]


def test_the_actions_depend_on_the_plan(policy, images, monkeypatch):
    states, noise = np.zeros((2, 8), np.float32), np.zeros((2, 3, 7), np.float32)
    found = []
    for word in (0, 15):

        def fixed_plan(backbone, prompt, word=word):
            prompt.append(policy.head.ids[[0, 1, 0, 1], word].expand(2, -1))

        monkeypatch.setattr(policy.head, "generate_plan", fixed_plan)
        found.append(policy.predict(images, INSTRUCTIONS, states, noise))
    assert np.abs(found[0] - found[1])[..., :6].max() > 1e-6
