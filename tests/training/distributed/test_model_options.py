"""Attention without padding, recomputed layers and frozen encoders: the same numbers with less work."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.backbones import build
from vlm4vla.backbones.logits import hidden_states
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.config.execution import Execution
from vlm4vla.config.policies import FlowHeadSettings, MlpHeadSettings
from vlm4vla.core.errors import UserError
from vlm4vla.policies.policy import Policy
from vlm4vla.training.batches.actions import ActionObjective
from vlm4vla.training.distributed.model_options import _in_bfloat16, model_options

TASKS = ["pick up the red block and put it in the drawer", "lift", "pick up the block"]
CAUSAL = ["qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "internvl", "kosmos-2"]
MASKED = ["paligemma", "paligemma2"]
SIZE = {"hidden": 32, "intermediate": 48, "layers": 3, "vision_hidden": 32, "vision_intermediate": 48}


def objective(family, freeze="none", head=None):
    experts = {"experts": 4, "experts_per_token": 2} if family == "qwen3_vl_moe" else {}
    size = TinySize(**SIZE, **experts)
    settings = Backbone(family=family, parameters_b=1, tiny=size, pretraining="any")
    words = sorted(set(" ".join(TASKS).split()))
    bounds = np.full(6, -1, np.float32), np.full(6, 1, np.float32)
    head = head or MlpHeadSettings(features=16, hidden=[16], gripper_loss_weight=0.1)
    backbone = build(settings, family, words, 64, 0)
    policy = Policy.create(backbone, head, 2, "calvin", Statistics("range", "calvin", *bounds), 0)
    policy.freeze(freeze)
    return ActionObjective(policy)


def first_text_layer(policy):
    model = policy.backbone.model
    family = policy.backbone.adapter.family
    text = model.text_model.model if family == "kosmos-2" else policy.backbone.adapter.text_model(model)
    return text.layers[0]


def batch(policy):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    inputs = policy.backbone.batch([policy.backbone.prompt_ids(task) for task in TASKS], images)
    pose = torch.from_numpy(random.uniform(-1, 1, (3, 2, 6)).astype(np.float32))
    return inputs, {"pose": pose, "gripper": torch.ones(3, 2), "mask": torch.ones(3, 2)}


def step(model, **execution):
    """Return the loss and the gradients of one batch with these options."""
    model.train()
    model.zero_grad()
    with model_options(model, Execution(**execution)):
        loss = model(batch(model.policy))
        loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), gradients


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in found[1].items():
        torch.testing.assert_close(gradient, expected[1][name], rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", CAUSAL)
def test_without_padding_the_step_is_the_same(family):
    model = objective(family)
    lengths = []
    layer = first_text_layer(model.policy)
    hook = layer.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[:2]))
    padded, packed = step(model), step(model, attention="flash_attention_2")
    hook.remove()
    assert_same(packed, padded)
    real = sum(len(model.policy.backbone.prompt_ids(task)) + 1 for task in TASKS)  # plus the query
    assert lengths[0][0] * lengths[0][1] > real  # the batch had padding
    assert tuple(lengths[1]) == (1, real)


@pytest.mark.parametrize("family", CAUSAL)
def test_without_padding_the_last_layer_computes_only_the_last_positions(family):
    model = objective(family)
    computed = []
    *adding, _ = model.policy.backbone.adapter.last_layer(model.policy.backbone.model)
    hooks = [
        linear.register_forward_hook(lambda _, __, output: computed.append(output[..., 0].numel()))
        for module in adding
        for linear in module.modules()
        if isinstance(linear, nn.Linear)
    ]
    step(model, attention="flash_attention_2")
    for hook in hooks:
        hook.remove()
    assert computed and set(computed) == {len(TASKS)}


def test_attention_without_padding_has_the_dropout_of_attention_with_a_mask():
    """In training, Kosmos-2's text model drops a tenth of its attention; the rest keeps its mean."""
    model = objective("kosmos-2")
    layer = first_text_layer(model.policy).self_attn
    without = step(model, attention="flash_attention_2")[0]
    assert step(model, attention="flash_attention_2")[0] == without
    layer.dropout = 0.3
    torch.manual_seed(0)
    losses = torch.stack([step(model, attention="flash_attention_2")[0] for _ in range(60)])
    masked = torch.stack([step(model)[0] for _ in range(60)])
    assert losses.std() > 1e-5
    assert losses.std() / masked.std() == pytest.approx(1, abs=0.4)
    assert float(losses.mean() - masked.mean()) == pytest.approx(0, abs=float(4 * losses.std() / 60**0.5))


@pytest.mark.parametrize("family", CAUSAL)
def test_every_position_is_the_same_without_padding(family):
    model = objective(family)
    inputs, _ = batch(model.policy)
    with torch.no_grad():
        padded = hidden_states(model.policy.backbone, inputs)
        with model_options(model, Execution(attention="flash_attention_2", gradient_checkpointing=True)):
            packed = hidden_states(model.policy.backbone, inputs)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(packed[real], padded[real], rtol=1e-4, atol=1e-5)
    assert not packed[~real].any()


@pytest.mark.parametrize("family", [*CAUSAL, *MASKED])
def test_checkpointed_layers_give_the_same_step(family):
    model = objective(family)
    assert_same(step(model, gradient_checkpointing=True), step(model))


def test_checkpointed_layers_without_padding_give_the_same_step():
    model = objective("qwen3_vl")
    assert_same(step(model, gradient_checkpointing=True, attention="flash_attention_2"), step(model))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "paligemma"])
def test_eager_attention_gives_the_same_step(family):
    model = objective(family)
    assert_same(step(model, attention="eager"), step(model))


def test_checkpointed_layers_are_computed_twice_and_only_within_the_context():
    model = objective("qwen3_vl")
    calls = []
    hook = first_text_layer(model.policy).mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    step(model, gradient_checkpointing=True)
    assert len(calls) == 2
    step(model)
    assert len(calls) == 3
    hook.remove()


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "paligemma", "kosmos-2", "internvl"])
def test_a_frozen_encoder_runs_without_gradient(family, checkpointed):
    model = objective(family, freeze="vision")
    [encoder] = model.policy.backbone.vision_encoder()
    needs = []
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: needs.append(output.requires_grad))
        for module in encoder.modules()
        if isinstance(module, nn.Linear)
    ]
    _, gradients = step(model, gradient_checkpointing=checkpointed)
    for hook in hooks:
        hook.remove()
    assert needs and not any(needs)
    assert gradients and not any(name.startswith("policy.model.vision") for name in gradients)


def test_no_logits_over_the_vocabulary_are_computed():
    model = objective("qwen2_5_vl")

    def refuse(*_):
        raise AssertionError("the output layer was called")

    model.policy.model.get_output_embeddings().register_forward_pre_hook(refuse)
    step(model)
    step(model, attention="flash_attention_2")


@pytest.mark.parametrize("family", MASKED)
def test_families_that_need_a_mask_are_an_error(family):
    with pytest.raises(UserError, match=f"flash_attention_2 takes no mask, and {family} needs one"):
        step(objective(family), attention="flash_attention_2")


@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"attention": "flash_attention_2"}])
def test_a_head_that_reads_cached_keys_is_an_error(options):
    class Reader(nn.Module):
        class policy:
            settings = FlowHeadSettings(kind="flow", width=8, intermediate=8)
            backbone = None

    with pytest.raises(UserError, match="a flow head"), model_options(Reader(), Execution(**options)):
        pass


@pytest.mark.parametrize(
    ("family", "checkpointed"),
    [
        (family, checkpointed)
        if (family, checkpointed) == ("paligemma2", False)
        else pytest.param(family, checkpointed, marks=pytest.mark.exhaustive)
        for family in ("qwen2_5_vl", "qwen3_vl_moe", "internvl", "paligemma2", "kosmos-2")
        for checkpointed in (False, True)
    ],
)
def test_compiled_layers_give_the_same_step(family, checkpointed, monkeypatch):
    # Trace and transform the layers, but skip the compiler's last step, which would generate and build C++.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()
    model = objective(family)
    options = {"attention": "flash_attention_2"} if family in CAUSAL else {}
    expected = step(model, **options)
    torch._dynamo.utils.counters.clear()
    for _ in range(2):  # the second run reuses the compiled code of the first
        found = step(model, compile=True, gradient_checkpointing=checkpointed, **options)
    assert_same(found, expected)
    assert 0 < torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 12  # not one per layer and batch
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_an_mlp_of_an_unaligned_width_is_the_same_when_padded():
    from vlm4vla.backbones.families.qwen2_5_vl import aligned_mlp

    model = objective("qwen2_5_vl")
    [block, *_] = model.policy.model.model.visual.blocks
    assert block.mlp.intermediate_size % 64  # 48
    with model_options(model, Execution()):
        assert block.mlp.forward.__func__ is not type(block.mlp).forward
    assert block.mlp.forward.__func__ is type(block.mlp).forward
    states = torch.randn(5, 32, requires_grad=True)
    sides = []
    for forward in (block.mlp, functools.partial(aligned_mlp, block.mlp)):
        block.mlp.zero_grad()
        output = forward(states)
        gradient = torch.autograd.grad(output.square().sum(), [states, *block.mlp.parameters()])
        sides.append([output, *gradient])
    for plain, filled in zip(*sides, strict=True):
        torch.testing.assert_close(filled, plain, rtol=1e-5, atol=1e-6)


def test_a_layer_in_bfloat16_gets_a_float_mask_without_infinity():
    lowest = torch.finfo(torch.float32).min
    mask = torch.tensor([[0.0, lowest], [lowest, lowest]])
    seen = []

    def forward(states, *, attention_mask):
        seen.append((states.dtype, torch.is_autocast_enabled("cpu"), attention_mask))
        return states

    with torch.autocast("cpu", torch.bfloat16):
        _in_bfloat16(forward, torch.ones(1, 2, 4), attention_mask=mask)
    [(dtype, autocast, received)] = seen
    assert dtype == received.dtype == torch.bfloat16 and not autocast
    assert torch.isfinite(received).all() and received[0, 0] == 0
    assert torch.isfinite(torch.softmax(received.float(), -1)).all()


GENERIC = ["gemma3", "qwen3_5", "mllama"]


@pytest.mark.parametrize("family", GENERIC)
def test_checkpointed_layers_of_other_model_types_give_the_same_step(family):
    model = objective(family)
    assert_same(step(model, gradient_checkpointing=True), step(model))


@pytest.mark.parametrize("family", GENERIC)
def test_eager_attention_of_other_model_types_gives_the_same_step(family):
    model = objective(family)
    assert_same(step(model, attention="eager"), step(model))


@pytest.mark.parametrize("family", GENERIC)
def test_other_model_types_have_no_attention_without_padding(family):
    model = objective(family)
    with pytest.raises(UserError, match=f"flash_attention_2 takes no mask, and {family} needs one"):
        step(model, attention="flash_attention_2")
    assert_same(step(model, attention="auto"), step(model))
