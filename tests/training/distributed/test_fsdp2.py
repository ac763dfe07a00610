"""A real architecture that is sharded (here: one process), trained with all options, and whole again."""

import numpy as np
import torch
from test_model_options import TASKS, batch, objective
from torch import nn

from vlm4vla.config.execution import Execution
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.policies.policy import Policy
from vlm4vla.training.distributed.fsdp2 import repeated_blocks
from vlm4vla.training.loop import train


class SameBatch:
    """Gives the same batch at every update."""

    def __init__(self, policy):
        self.inputs = batch(policy)

    def ids(self, step):
        return np.arange(3)

    def batch(self, ids, random):
        return self.inputs


def training(**execution):
    return Training(
        steps=3,
        batch=3,
        optimiser=Optimiser(learning_rate=1e-3, average=0.5),
        execution=Execution(**execution),
    )


def test_blocks_are_the_layers_of_both_stacks_and_no_inner_lists():
    model = objective("qwen3_vl_moe")
    names = {id(module): name for name, module in model.named_modules()}
    found = [names[id(block)] for block in repeated_blocks(model)]
    assert sum(".language_model.layers." in name for name in found) == 3
    assert sum(".visual.blocks." in name for name in found) == 2
    for name in found:
        assert not any(name != other and name.startswith(other + ".") for other in found)


def test_a_bfloat16_backbone_is_trained_in_float32_and_is_bfloat16_at_the_end(tmp_path):
    model = objective("qwen2_5_vl")
    policy = model.policy
    policy.model.to(torch.bfloat16)
    kinds = [type(module) for module in model.modules()]
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    tied = policy.model.get_output_embeddings().weight is policy.model.get_input_embeddings().weight
    options = {"precision": "bf16", "gradient_checkpointing": True, "attention": "flash_attention_2"}
    train(
        model,
        SameBatch(policy),
        training=training(strategy="fsdp2", **options),
        seed=0,
        folder=tmp_path,
        identity={},
        title="test",
    )
    assert [type(module) for module in model.modules()] == kinds
    moved = 0
    for name, value in model.named_parameters():
        assert type(value) is nn.Parameter and value.dtype == before[name].dtype, name
        moved += not torch.equal(value, before[name])
    # Norm scales are near 1, and move by less than the distance of two bfloat16 numbers there.
    assert moved > 0.7 * len(before)
    assert tied == (policy.model.get_output_embeddings().weight is policy.model.get_input_embeddings().weight)
    policy.save(tmp_path / "policy")
    loaded = Policy.load(tmp_path / "policy")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
    for name, value in loaded.model.named_parameters():
        assert torch.equal(value, policy.model.get_parameter(name)), name
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    # Not to the bit: `to` above also rounded the position tables, which loading computes in float32.
    np.testing.assert_allclose(policy.predict(images, TASKS), loaded.predict(images, TASKS), atol=1e-2)


def test_fsdp2_with_one_process_gives_the_weights_of_single(tmp_path):
    found = []
    for strategy in ("single", "fsdp2"):
        model = objective("paligemma")
        folder = tmp_path / strategy
        train(
            model,
            SameBatch(model.policy),
            training=training(strategy=strategy),
            seed=0,
            folder=folder,
            identity={},
            title="test",
        )
        found.append({name: value.detach() for name, value in model.named_parameters()})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-5, atol=1e-6, msg=name)
