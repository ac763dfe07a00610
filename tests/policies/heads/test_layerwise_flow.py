"""pi0's action expert: which tokens attend to which."""

import torch

from vlm4vla.backbones.prompt_cache import PromptCache


def test_the_expert_reads_every_layer_of_the_backbone(make_policy, inputs, targets):
    """A change to any one layer's values changes the velocity."""
    policy = make_policy("flow")
    head = policy.head
    with torch.no_grad():
        prompt = PromptCache(policy.backbone, inputs(policy))
        x, times = torch.zeros(2, 3, 7), torch.full((2,), 0.5)
        before = head.velocity(prompt, targets["state"], x, times)
        layers = list(prompt.layers)
        assert len(layers) == len(head.expert.layers)
        for number, (keys, values) in enumerate(layers):
            prompt.layers = [*layers]
            prompt.layers[number] = (keys, values + 0.5)
            assert not torch.allclose(head.velocity(prompt, targets["state"], x, times), before)


def test_the_expert_ignores_padding(make_policy, inputs, targets):
    policy = make_policy("flow")
    with torch.no_grad():
        prompt = PromptCache(policy.backbone, inputs(policy))
        padded = prompt.mask == 0
        assert padded.any()
        x, times = torch.zeros(2, 3, 7), torch.full((2,), 0.5)
        before = policy.head.velocity(prompt, targets["state"], x, times)
        holes = padded[:, None, :, None]
        prompt.layers = [(keys, values.masked_fill(holes, 7.0)) for keys, values in prompt.layers]
        after = policy.head.velocity(prompt, targets["state"], x, times)
    torch.testing.assert_close(after, before)


def test_steps_attend_to_each_other_and_the_state_does_not_attend_to_them(make_policy):
    head = make_policy("flow").head
    mask = head.mask(torch.tensor([[0, 1, 1]]), torch.zeros(1, 4, 32))
    assert (mask[0, 0] == 0).int().tolist() == [
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1, 1],
    ]


def test_a_later_step_changes_the_velocity_of_an_earlier_step(make_policy, inputs, targets):
    """The action tokens are one block with attention in both directions."""
    policy = make_policy("flow", "qwen2_5_vl")
    with torch.no_grad():
        prompt = PromptCache(policy.backbone, inputs(policy))
        x, times = torch.zeros(2, 3, 7), torch.full((2,), 0.5)
        before = policy.head.velocity(prompt, targets["state"], x, times)
        x[:, -1] = 1
        after = policy.head.velocity(prompt, targets["state"], x, times)
    assert (after[:, 0] - before[:, 0]).abs().max() > 1e-6
