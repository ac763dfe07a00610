"""Weights that are not stored in float32 are trained in float32, and every folder says its type."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_inputs import write_demonstrations
from stored_types import declare, store, store_half
from torch import nn
from vla_settings import expert_settings, settings

from vlm4vla.backbones import load
from vlm4vla.backbones.weights import stored_types
from vlm4vla.config.execution import Execution
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import file_hash
from vlm4vla.policies.policy import Policy
from vlm4vla.stages.vla import run
from vlm4vla.training.loop import train

HALF, FLOAT = torch.bfloat16, torch.float32
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
SAID = ["reach for the red block", "open the drawer"]


def mixed(name):
    """The types of a checkpoint whose norms and biases are float32."""
    return FLOAT if "norm" in name or name.endswith("bias") else HALF


KINDS = {
    "bfloat16": lambda folder: store_half(folder),
    "float16": lambda folder: store_half(folder, torch.float16),
    "mixed": lambda folder: declare(store(folder, mixed), "bfloat16"),
    "bfloat16, and config.json says float32": lambda folder: declare(store_half(folder), "float32"),
    "float32, and config.json says bfloat16": lambda folder: declare(folder, "bfloat16"),
}


@pytest.fixture(params=KINDS)
def stored(request, backbone, tmp_path):
    """A backbone's folder, and the same numbers in float32."""
    folder = KINDS[request.param](shutil.copytree(backbone, tmp_path / "stored"))
    return folder, store(shutil.copytree(folder, tmp_path / "plain"), lambda name: FLOAT)


def record_of(folder):
    """The folder's provenance gets the hash of its present weights."""
    path = folder / "provenance.json"
    record = json.loads(path.read_text())
    record["outputs"] = {"model.safetensors": file_hash(folder / "model.safetensors")}
    path.unlink()
    path.write_text(json.dumps(record))
    return folder


def test_a_training_without_execution_is_that_of_the_same_numbers_in_float32(
    stored, demonstrations, tmp_path, capsys
):
    folder, plain = stored
    run(settings(), backbone=record_of(folder), demonstrations=demonstrations, output=tmp_path / "a")
    said = capsys.readouterr().out
    types = stored_types(folder)
    sentence = f"the weights are {' and '.join(types)}; without `execution` they are trained in float32"
    assert said.count(sentence) == (types != ["float32"])
    run(settings(), backbone=record_of(plain), demonstrations=demonstrations, output=tmp_path / "b")
    assert "the weights are" not in capsys.readouterr().out
    for name in ("policy.safetensors", "backbone/model.safetensors"):
        first, second = load_file(tmp_path / "a" / name), load_file(tmp_path / "b" / name)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert value.dtype == FLOAT and torch.equal(value, second[key]), key


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Demonstrations for every head: with the positions of the gripper in the images."""
    return write_demonstrations(tmp_path_factory.mktemp("points"), points=True)


@pytest.mark.parametrize("kind", ["mlp", "tokens", "flow", "planned-flow"])
@pytest.mark.parametrize("execution", [None, {"precision": "bf16"}, {"precision": "float32"}])
def test_a_policy_acts_the_same_when_it_is_saved_and_loaded(backbone, points, tmp_path, kind, execution):
    folder = record_of(store_half(shutil.copytree(backbone, tmp_path / "stored")))
    training = Training(
        steps=2,
        batch=4,
        optimiser=Optimiser(learning_rate=1e-3),
        execution=execution and Execution(strategy="ddp", processes=1, **execution),
    )
    wanted = settings() if kind == "mlp" else expert_settings(kind)
    wanted = wanted.model_copy(update={"training": training})
    run(wanted, backbone=folder, demonstrations=points, output=tmp_path / "vla")
    policy = Policy.load(tmp_path / "vla")
    expected = FLOAT if execution is None else HALF
    assert {p.dtype for p in policy.model.parameters()} == {expected}
    assert all(each.dtype == FLOAT for name, each in policy.head.named_parameters() if name != "query")
    assert stored_types(tmp_path / "vla/backbone") == [str(expected).removeprefix("torch.")]
    inputs = {}
    if policy.head.reads_state:
        inputs["states"] = np.zeros((2, policy.state_scale.size), np.float32)
    if policy.head.samples:
        inputs["noise"] = np.random.default_rng(1).standard_normal((2, policy.chunk, 7))
    actions = policy.predict(IMAGES, SAID, **inputs)
    assert actions.dtype == np.float32 and np.isfinite(actions).all()
    policy.save(tmp_path / "again")
    again = Policy.load(tmp_path / "again")
    np.testing.assert_array_equal(again.predict(IMAGES, SAID, **inputs), actions)


def test_inference_types(stored):
    folder, plain = stored
    whole = stored_types(folder) == ["bfloat16"]
    assert load(folder, dtype="stored").model.dtype == (HALF if whole else FLOAT)
    for dtype in ("float32", "stored"):
        model = load(folder, dtype=dtype).model
        assert len({p.dtype for p in model.parameters()}) == 1
        assert model.config.dtype == model.dtype
    exact = dict(load(plain).model.named_parameters())
    for name, parameter in load(folder).model.named_parameters():
        assert torch.equal(parameter, exact[name]), name


class Line(nn.Module):
    """One weight per sample; the loss pulls every weight to zero with a gradient of one sign."""

    def __init__(self, dtype):
        super().__init__()
        start = torch.linspace(0.5, 4.0, 64).to(torch.bfloat16)
        self.weight = nn.Parameter(start.to(dtype))
        self.register_buffer("scale", torch.ones(1, dtype=dtype))

    def forward(self, batch):
        return (self.weight * self.scale * batch).sum()


class Ones:
    def ids(self, step):
        return np.arange(1)

    def batch(self, ids, random):
        return torch.ones(1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_any_objective_is_trained_in_float32(tmp_path, dtype, capsys):
    """AdamW moves a weight by about the rate in each update; bfloat16 numbers are farther apart than that."""
    objective = Line(dtype)
    start = objective.weight.detach().float().clone()
    optimiser = Optimiser(learning_rate=1e-5, weight_decay=0.0, warmup=0.0, schedule="constant")
    training = Training(steps=20, batch=1, optimiser=optimiser)
    train(objective, Ones(), training=training, seed=0, folder=tmp_path, identity={}, title="line")
    assert objective.weight.dtype == objective.scale.dtype == torch.float32
    torch.testing.assert_close(start - objective.weight.detach(), torch.full((64,), 2e-4), rtol=0.02, atol=0)
    name = str(dtype).removeprefix("torch.")
    assert f"line: weights in {name} are converted to float32" in capsys.readouterr().out
