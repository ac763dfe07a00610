"""pi0's action expert: what attends to what, against a model that has everything in one sequence."""

import torch


def test_every_layer_of_the_backbone_is_read(make_policy, inputs, targets):
    """A change of one layer's keys changes the velocity, for each layer."""
    policy = make_policy("flow")
    head = policy.head
    from vlm4vla.backbones.prompt_cache import Reading

    with torch.no_grad():
        reading = Reading(policy.backbone, inputs(policy))
        x, times = torch.zeros(2, 3, 7), torch.full((2,), 0.5)
        before = head.velocity(reading, targets["state"], x, times)
        layers = list(reading.layers)
        assert len(layers) == len(head.expert.layers)
        for number, (keys, values) in enumerate(layers):
            reading.layers = [*layers]
            reading.layers[number] = (keys, values + 0.5)
            assert not torch.allclose(head.velocity(reading, targets["state"], x, times), before)


def test_padding_is_not_read(make_policy, inputs, targets):
    policy = make_policy("flow")
    from vlm4vla.backbones.prompt_cache import Reading

    with torch.no_grad():
        reading = Reading(policy.backbone, inputs(policy))
        padded = reading.mask == 0
        assert padded.any()
        x, times = torch.zeros(2, 3, 7), torch.full((2,), 0.5)
        before = policy.head.velocity(reading, targets["state"], x, times)
        holes = padded[:, None, :, None]
        reading.layers = [(keys, values.masked_fill(holes, 7.0)) for keys, values in reading.layers]
        after = policy.head.velocity(reading, targets["state"], x, times)
    torch.testing.assert_close(after, before)


def test_steps_see_each_other_and_the_state_does_not_see_them(make_policy):
    head = make_policy("flow").head
    mask = head.mask(torch.tensor([[0, 1, 1]]), torch.zeros(1, 4, 32))
    assert (mask[0, 0] == 0).int().tolist() == [
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1, 1],
    ]


def test_a_later_step_changes_an_earlier_ones_velocity(make_policy, inputs, targets):
    """The actions are one block, read in both directions."""
    policy = make_policy("flow", "qwen2_5_vl")
    from vlm4vla.backbones.prompt_cache import Reading

    with torch.no_grad():
        reading = Reading(policy.backbone, inputs(policy))
        x, times = torch.zeros(2, 3, 7), torch.full((2,), 0.5)
        before = policy.head.velocity(reading, targets["state"], x, times)
        x[:, -1] = 1
        after = policy.head.velocity(reading, targets["state"], x, times)
    assert (after[:, 0] - before[:, 0]).abs().max() > 1e-6
