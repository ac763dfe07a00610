"""One process with a bfloat16 copy of its weights, against torch's FSDP2 with one process."""

import pytest
import torch
from test_fsdp2 import SameBatch, training
from test_model_options import objective

from vlm4vla.training.distributed import strategies
from vlm4vla.training.loop import train


class Stopped(Exception):
    pass


class StoppingBatch(SameBatch):
    def __init__(self, policy, step):
        super().__init__(policy)
        self.step = step

    def ids(self, step):
        if step == self.step:
            raise Stopped
        return super().ids(step)


def trained(family, folder, samples=SameBatch, *more, settings=None):
    model = objective(family)
    settings = settings or training(strategy="fsdp2", precision="bf16", micro_batch=1)
    options = {"seed": 0, "folder": folder, "identity": {}, "title": "test"}
    try:
        train(model, samples(model.policy, *more), training=settings, **options)
    except Stopped:
        return None
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "paligemma", "kosmos-2"])
def test_it_equals_fsdp2_to_the_bit(tmp_path, monkeypatch, family):
    single = trained(family, tmp_path / "single")
    created = []

    class Counted(strategies.FullySharded):
        def __init__(self, *arguments):
            created.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(strategies, "SingleProcess", Counted)
    sharded = trained(family, tmp_path / "sharded")
    assert len(created) == 1 and single.keys() == sharded.keys()
    for name, value in single.items():
        assert value.dtype == torch.float32 and torch.equal(value, sharded[name]), name


def test_it_resumes(tmp_path):
    settings = training(strategy="fsdp2", precision="bf16").model_copy(update={"checkpoint_every": 1})
    expected = trained("paligemma", tmp_path / "whole", settings=settings)
    assert trained("paligemma", tmp_path / "resumed", StoppingBatch, 2, settings=settings) is None
    assert list((tmp_path / "resumed" / "checkpoints").iterdir())
    found = trained("paligemma", tmp_path / "resumed", settings=settings)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_frozen_part_stays_unchanged_and_no_hook_is_left(tmp_path):
    model = objective("paligemma", freeze="vision")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = training(strategy="fsdp2", precision="bf16")
    train(
        model, SameBatch(model.policy), training=settings, seed=0, folder=tmp_path, identity={}, title="test"
    )
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved and not any("vision_tower" in name for name in moved)
    assert all(not parameter._post_accumulate_grad_hooks for parameter in model.parameters())
