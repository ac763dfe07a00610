"""FLOPs and parameters in closed form agree with a counter on the real modules."""

import contextlib
from typing import ClassVar

import pytest
import torch
from shrunk_backbones import save_shrunk
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vlm4vla.backbones import load
from vlm4vla.backbones.logits import hidden_states
from vlm4vla.workflow.estimate.published_configs import published_configs
from vlm4vla.workflow.estimate.shapes import shape_of

MODELS = [
    "Qwen/Qwen2.5-VL-3B-Instruct",
    "Qwen/Qwen3-VL-8B-Instruct",
    "google/paligemma-3b-pt-224",
    "google/paligemma2-3b-pt-224",
    "microsoft/kosmos-2-patch14-224",
    "OpenGVLab/InternVL3_5-4B-HF",
]


class GlobalTracker:
    """Replaces the counter's module tracker, which does not support Kosmos-2's latent queries."""

    parents: ClassVar[set[str]] = {"Global"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@contextlib.contextmanager
def counting():
    """Count FLOPs. Attention runs as matrix products, because the counter does not count its CPU kernel."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = GlobalTracker()
    with sdpa_kernel(SDPBackend.MATH), counter:
        yield counter


@pytest.fixture(params=MODELS)
def case(request, tmp_path):
    """A shrunk model, its shape, and a batch of one sample."""
    published = published_configs()[request.param]
    torch.manual_seed(0)
    save_shrunk(published, tmp_path)
    backbone = load(tmp_path)
    shape = shape_of(backbone.model.config.to_dict(), published.processor)
    ids = backbone.prompt_ids("pick up the red block")
    batch = backbone.batch([ids], torch.zeros(1, 224, 224, 3, dtype=torch.uint8))
    return backbone, shape, batch, len(ids) - backbone.adapter.image_tokens


def test_parameters(case):
    backbone, shape, *_ = case
    assert shape.parameters == sum(parameter.numel() for parameter in backbone.model.parameters())


def test_forward(case):
    backbone, shape, batch, text_tokens = case
    with torch.no_grad(), counting() as counter:
        hidden_states(backbone, batch)
    assert shape.image_tokens == backbone.adapter.image_tokens
    assert shape.forward(text_tokens) == pytest.approx(counter.get_total_flops(), rel=1e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_training(case, frozen):
    backbone, shape, batch, text_tokens = case
    for module in backbone.vision_encoder() if frozen else ():
        module.requires_grad_(False)
    with counting() as counter:
        hidden_states(backbone, batch).sum().backward()
    assert shape.training(text_tokens, frozen) == pytest.approx(counter.get_total_flops(), rel=1e-6)


def test_only_the_active_experts_cost_flops():
    published = published_configs()["Qwen/Qwen3-VL-30B-A3B-Instruct"]
    shape = shape_of(published.config, published.processor)
    assert 3e9 < shape.active_parameters < 4e9 < 30e9 < shape.parameters
    layer = 2048 * 128 * 2 * (32 + 4) + 8 * 3 * 2048 * 768 + 128 * 2048
    length = shape.tokens(40)
    assert shape.text.forward(length, length) == 48 * (2 * layer * length + 4 * 32 * 128 * length**2)
