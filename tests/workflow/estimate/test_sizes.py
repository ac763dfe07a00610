"""FLOPs and parameters in closed form agree with a counter on the real modules."""

import contextlib
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from shrunk_backbones import image_processor, save_shrunk
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForImageTextToText

from vlm4vla.backbones import load
from vlm4vla.backbones.logits import hidden_states
from vlm4vla.backbones.lookup import adapter_class
from vlm4vla.backbones.tiny_tokenizer import tiny_tokenizer
from vlm4vla.config.layers import read_layers
from vlm4vla.workflow.estimate.assumptions import prompt_tokens
from vlm4vla.workflow.estimate.models import model_of
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


REPOSITORY = Path(__file__).parents[3]
PAPER_SIDES = {  # pixels per side and image tokens of the released code
    "qwen2.5-vl-3b": (448, 256),
    "qwen2.5-vl-7b": (448, 256),
    "qwen3-vl-2b": (448, 196),
    "qwen3-vl-4b": (448, 196),
    "qwen3-vl-8b": (448, 196),
    "qwen3-vl-30b-a3b": (448, 196),
}


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


@pytest.fixture(scope="module")
def paper():
    return read_layers([REPOSITORY / "config.yaml", REPOSITORY / "workflow/scales/paper.yaml"])


@pytest.mark.parametrize("name", PAPER_SIDES)
def test_training_at_the_papers_image_size(paper, name):
    """The six released Qwen-VL at full size on the meta device, with the images of paper.yaml.

    The text model reads as many embeddings as the prompt has tokens. DeepStack only adds features to them.
    """
    side, tokens = PAPER_SIDES[name]
    settings = paper.backbones[name]
    published, estimated = (
        published_configs()[settings.checkpoint],
        model_of(settings, paper.image_size).shape,
    )
    fields = dict(published.config)
    with torch.device("meta"):
        config = AutoConfig.for_model(fields.pop("model_type"), **fields)
        model = AutoModelForImageTextToText.from_config(config)
    if hasattr(config.text_config, "num_experts"):
        model.set_experts_implementation("batched_mm")  # the one that needs no values
    processor = image_processor(published)
    processor.size["shortest_edge"] = settings.pixels.min
    image = torch.zeros(paper.image_size, paper.image_size, 3, dtype=torch.uint8).numpy()
    pixels, grid = processor(images=[image], return_tensors="pt").values()
    adapter = adapter_class(settings.family)(
        config, tiny_tokenizer([], adapter_class(settings.family).phrases), side
    )
    adapter.prepare(model)
    inputs = {
        key.removeprefix("image_"): value.to("meta") if isinstance(value, torch.Tensor) else value
        for key, value in adapter.index_tensors(grid).items()
    }
    length = tokens + prompt_tokens(settings.family)
    embeddings = torch.zeros(1, length, config.text_config.hidden_size, device="meta", requires_grad=True)
    positions = torch.arange(length, device="meta").expand(3, 1, -1)
    with counting() as counter:
        seen = model.model.visual(pixels.to("meta"), grid, **inputs)
        sum(each.sum() for each in [seen.pooler_output, *getattr(seen, "deepstack_features", [])]).backward()
        read = model.model.language_model(inputs_embeds=embeddings, position_ids=positions, use_cache=False)
        read.last_hidden_state.sum().backward()
    assert seen.pooler_output.shape[0] == tokens == estimated.image_tokens
    found = estimated.training(prompt_tokens(settings.family))
    print(
        f"{name}: estimate {found / 1e12:.3f}, counted {counter.get_total_flops() / 1e12:.3f} TFLOP a sample"
    )
    assert found == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_larger_images_cost_as_many_times_as_the_released_processors_images(paper):
    """Side and tokens grow by 448/224 (Qwen2.5-VL) and 448/256 (Qwen3-VL); the text stays."""
    for name, (side, tokens) in PAPER_SIDES.items():
        settings = paper.backbones[name]
        own = model_of(settings.model_copy(update={"pixels": None}), paper.image_size).shape
        large = model_of(settings, paper.image_size).shape
        assert large.image_tokens / own.image_tokens == tokens / 64
        growth = large.training(40) / own.training(40)
        print(f"{name}: {own.training(40) / 1e12:.2f} to {large.training(40) / 1e12:.2f} TFLOP, {growth:.2f}")
        low, high = (3.0, 3.4) if "2.5" in name else (2.4, 2.7)
        assert low < growth < high < (side / (224 if "2.5" in name else 256)) ** 2


def test_only_the_active_experts_cost_flops():
    published = published_configs()["Qwen/Qwen3-VL-30B-A3B-Instruct"]
    shape = shape_of(published.config, published.processor)
    assert 3e9 < shape.active_parameters < 4e9 < 30e9 < shape.parameters
    layer = 2048 * 128 * 2 * (32 + 4) + 8 * 3 * 2048 * 768 + 128 * 2048
    length = shape.tokens(40)
    assert shape.text.forward(length, length) == 48 * (2 * layer * length + 4 * 32 * 128 * length**2)
