"""Small policies with each kind of expert head: their widths and words."""

import numpy as np
import torch
from pydantic import TypeAdapter

from vlm4vla.actions.normalisation import StateScale, Statistics
from vlm4vla.backbones import build
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.policies import HeadSettings
from vlm4vla.policies.policy import Policy

CHUNK = 3
INSTRUCTIONS = ["pick up the red block and put it in the drawer", "pick up the block"]
SIZE = TinySize(
    hidden=32, intermediate=48, heads=4, layers=2, vision_hidden=32, vision_intermediate=48, vision_layers=1
)
SETTINGS = {
    "tokens": {"kind": "tokens", "bins": 256},
    "flow": {"kind": "flow", "width": 32, "intermediate": 48},
    "planned-flow": {"kind": "planned-flow", "plan": [2, 4], "width": 32},
}


def make(kind, family="paligemma", **changes):
    """A policy with a head of `kind` on a tiny backbone; `changes` of the head's settings."""
    words = sorted(set(" ".join(INSTRUCTIONS).split()))
    settings = Backbone(family=family, parameters_b=1, tiny=SIZE, pretraining="any")
    head = TypeAdapter(HeadSettings).validate_python(SETTINGS[kind] | changes)
    bounds = np.full(6, -1, np.float32), np.full(6, 1, np.float32)
    scale = StateScale(np.arange(8, dtype=np.float32), np.full(8, 2, np.float32))
    backbone = build(settings, family, words, 64, 0)
    policy = Policy.create(backbone, head, CHUNK, "calvin", Statistics("range", "calvin", *bounds), 0, scale)
    weight = policy.backbone.word_embedding().weight
    with torch.no_grad():  # new words start alike: here each differs, as after training
        weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    return policy
