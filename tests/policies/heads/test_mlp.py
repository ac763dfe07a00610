"""The MLP head's widths, output ranges and initial weights."""

import torch
from torch import nn

from vlm4vla.policies.heads.mlp import MlpHead


def widths(module):
    return [(layer.in_features, layer.out_features) for layer in module if isinstance(layer, nn.Linear)]


def test_widths_match_the_study():
    head = MlpHead(2048, 1024, [1024, 512, 256], chunk=10)
    assert widths(head.trunk) == [(2048, 1024), (1024, 1024)]
    assert widths(head.pose) == [(1024, 1024), (1024, 512), (512, 256), (256, 60)]
    assert widths(head.gripper) == [(1024, 1024), (1024, 512), (512, 256), (256, 10)]


def test_output_shapes_and_range():
    torch.manual_seed(0)
    pose, gripper = MlpHead(16, 32, [32, 16], chunk=4)(100 * torch.randn(5, 16))
    assert pose.shape == (5, 4, 6)
    assert gripper.shape == (5, 4, 1)
    assert pose.abs().max() <= 1
    assert pose.abs().max() > 0.9
    assert gripper.abs().max() > 1  # logits, not probabilities


def test_xavier_weights_and_zero_biases():
    torch.manual_seed(0)
    head = MlpHead(64, 64, [64], chunk=2)
    bound = (6 / (64 + 64)) ** 0.5
    weight = head.pose[0].weight
    assert 0.9 * bound < weight.abs().max() <= bound
    assert all(not p.any() for name, p in head.named_parameters() if name.endswith("bias"))
