"""Small models compute the same states and gradients as transformers' own modules, with fewer operations."""

import pytest
import torch

from vlm4vla.backbones import loaded
from vlm4vla.backbones.kernels import small_models
from vlm4vla.backbones.prompt_cache import PromptCache

FEW = {torch.float32: 1e-5, torch.float64: 2e-6}  # transformers computes norms in float32 in any case


@pytest.fixture
def plain(fresh, monkeypatch):
    """A backbone as transformers computes it, with the weights of `fresh()`."""
    with monkeypatch.context() as context:
        context.setattr(loaded, "use_small_functions", lambda model: None)
        context.setattr(loaded, "use_small_inputs", lambda model: None)
        return fresh()


@pytest.fixture
def calls(monkeypatch):
    """The shapes of the attention that was computed by `SelfAttention`."""
    shapes = []
    apply = small_models.SelfAttention.apply

    def counted(*arguments):
        shapes.append(arguments[-1])
        return apply(*arguments)

    monkeypatch.setattr(small_models.SelfAttention, "apply", counted)
    return shapes


def same(own, other, tolerance):
    return torch.allclose(own, other, rtol=0, atol=tolerance * float(other.abs().max()) + 1e-9)


def self_attentions(model):
    kinds = {kind for name, kind in small_models.KINDS.items() if name.endswith("Attention")}
    return [module for module in model.modules() if kinds & set(type(module).__mro__)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_and_gradients_are_those_of_transformers(
    family, fresh, plain, images, instructions, calls, dtype
):
    if dtype == torch.float64 and family in ("kosmos-2", "paligemma2"):
        pytest.skip("transformers' own mask overflows in float64")
    small = fresh()
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(small.hidden_size, generator=generator).to(dtype)
    reading = torch.randn(len(images), small.hidden_size, generator=generator).to(dtype)
    results = []
    for backbone in (plain, small):
        backbone.model.to(dtype).train()
        batch = backbone.batch([backbone.prompt_ids(text) for text in instructions], images)
        batch["pixel_values"] = batch["pixel_values"].to(dtype)
        assert not batch["attention_mask"].all()  # some rows are padded
        asked = query.clone().requires_grad_()
        assert not calls
        state = backbone.hidden(batch, asked)
        (state * reading).sum().backward()
        gradients = {name: each.grad for name, each in backbone.model.named_parameters()}
        results.append((state.detach(), {"query": asked.grad} | gradients))
    (expected, expected_gradients), (got, gradients) = results
    others = 1 if family == "kosmos-2" else 0  # attention to other states stays as it is
    assert len(calls) == len(self_attentions(small.model)) - others >= 5
    assert [shape.only_last for shape in calls].count(True) == 1
    assert same(got, expected, FEW[dtype])
    largest = max(float(each.abs().max()) for each in expected_gradients.values() if each is not None)
    for name, gradient in expected_gradients.items():
        assert (gradients[name] is None) == (gradient is None), name
        if gradient is not None:
            # The gradient of a key's bias is zero up to rounding, hence the absolute part.
            few = 5 * FEW[dtype] * float(gradient.abs().max()) + FEW[dtype] * 1e-2 * largest
            assert torch.allclose(gradients[name], gradient, rtol=0, atol=few), name


def test_logits_are_those_of_transformers(fresh, plain, images, instructions, calls):
    """The whole model, as in pre-training, which reads all positions."""
    logits = []
    for backbone in (plain, fresh()):
        batch = backbone.batch([backbone.prompt_ids(text) for text in instructions], images)
        with torch.no_grad():
            logits.append(backbone.model.eval()(**batch).logits[batch["attention_mask"].bool()])
    assert calls and not any(shape.only_last for shape in calls)
    assert same(logits[1], logits[0], 1e-5)


def test_cached_prompts_are_those_of_transformers(family, fresh, plain, images, instructions, calls):
    """Heads that read keys and values, and tokens that are appended."""
    if family == "kosmos-2":
        pytest.skip("Kosmos-2 has no prompt cache: its adapter joins the parts by itself")
    results = []
    for backbone in (plain, fresh()):
        backbone.model.eval()
        batch = backbone.batch([backbone.prompt_ids(instructions[0])] * len(images), images)
        cache = PromptCache(backbone, batch)
        keys, values = cache.layers[1]
        (keys.square().sum() + values.sum()).backward()
        first = next(iter(backbone.vision_encoder()[0].parameters())).grad
        with torch.no_grad():
            cache = PromptCache(backbone, batch)
            appended = cache.append(torch.ones(len(images), 2, dtype=torch.long))
        results.append((cache.hidden, keys.detach(), values.detach(), first, appended))
    assert calls
    for own, other in zip(results[1], results[0], strict=True):
        assert same(own, other, 2e-5)


def test_other_inputs_are_computed_by_transformers(family, fresh, images, instructions, calls, monkeypatch):
    backbone = fresh()
    query = torch.ones(backbone.hidden_size)
    batch = backbone.batch([backbone.prompt_ids(text) for text in instructions], images)
    with torch.no_grad():
        expected = backbone.hidden(batch, query)
        assert calls
        calls.clear()
        with monkeypatch.context() as context:
            context.setattr(small_models, "LONGEST", 1)
            assert same(backbone.hidden(batch, query), expected, 1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            backbone.hidden(batch, query)
        assert not calls
        if family != "paligemma2":  # whose own attention is eager
            backbone.model.config.get_text_config()._attn_implementation = "eager"
            assert same(backbone.hidden(batch, query), expected, 1e-5)
            # Only the vision encoder's layers, which were not switched.
            assert not any(shape.only_last for shape in calls)


def test_large_models_keep_their_modules(fresh, monkeypatch):
    monkeypatch.setattr(small_models, "WIDEST", 16)
    assert not self_attentions(fresh().model)


def test_other_models_in_the_process_keep_their_modules(plain, fresh):
    changed = {type(module) for module in self_attentions(fresh().model)}
    assert changed and changed.isdisjoint(map(type, plain.model.modules()))
