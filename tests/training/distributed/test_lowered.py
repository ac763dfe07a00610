"""One process with a bfloat16 copy of its weights, against torch's FSDP2 with one process."""

import pytest
import torch
from test_model_options import objective
from test_sharding import Same, training

from vlm4vla.training.distributed import strategies
from vlm4vla.training.loop import train


class Stopped(Exception):
    pass


class StoppedAt(Same):
    def __init__(self, policy, step):
        super().__init__(policy)
        self.step = step

    def ids(self, step):
        if step == self.step:
            raise Stopped
        return super().ids(step)


def trained(family, folder, samples=Same, *more, settings=None):
    model = objective(family)
    settings = settings or training(strategy="fsdp2", precision="bf16", micro_batch=1)
    options = {"seed": 0, "folder": folder, "identity": {}, "title": "test"}
    try:
        train(model, samples(model.policy, *more), training=settings, **options)
    except Stopped:
        return None
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "paligemma", "kosmos-2"])
def test_it_is_fsdp2_to_the_bit(tmp_path, monkeypatch, family):
    alone = trained(family, tmp_path / "alone")
    made = []

    class Counted(strategies.FullySharded):
        def __init__(self, *given):
            made.append(self)
            super().__init__(*given)

    monkeypatch.setattr(strategies, "Alone", Counted)
    sharded = trained(family, tmp_path / "sharded")
    assert len(made) == 1 and alone.keys() == sharded.keys()
    for name, value in alone.items():
        assert value.dtype == torch.float32 and torch.equal(value, sharded[name]), name


def test_it_goes_on_after_a_stop(tmp_path):
    settings = training(strategy="fsdp2", precision="bf16").model_copy(update={"checkpoint_every": 1})
    expected = trained("paligemma", tmp_path / "whole", settings=settings)
    assert trained("paligemma", tmp_path / "cut", StoppedAt, 2, settings=settings) is None
    assert list((tmp_path / "cut" / "checkpoints").iterdir())
    found = trained("paligemma", tmp_path / "cut", settings=settings)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_frozen_part_stays_and_has_no_gradient(tmp_path):
    model = objective("paligemma", freeze="vision")
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = training(strategy="fsdp2", precision="bf16")
    train(model, Same(model.policy), training=settings, seed=0, folder=tmp_path, identity={}, title="test")
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved and not any("vision_tower" in name for name in moved)
    assert all(not parameter._post_accumulate_grad_hooks for parameter in model.parameters())
