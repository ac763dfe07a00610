"""The training loop: closed forms, resuming after SIGKILL, NaN."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.errors import UserError
from vlm4vla.training.components.optimisers import rate_factor
from vlm4vla.training.loop import train


class Regression(nn.Module):
    """Mean squared error of a linear map; `batch` is (inputs, targets)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.arange(6.0).reshape(2, 3) / 10)

    def forward(self, batch):
        inputs, targets = batch
        return ((self.layer(inputs) - targets) ** 2).mean()


class Rows:
    """64 fixed samples. `poison`: an id whose target is NaN."""

    def __init__(self, poison=None):
        random = np.random.default_rng(0)
        self.inputs = random.normal(size=(64, 3)).astype(np.float32)
        self.targets = random.normal(size=(64, 2)).astype(np.float32)
        if poison is not None:
            self.targets[poison] = np.nan

    def ids(self, step):
        return (np.arange(4) + 4 * step) % 64

    def batch(self, ids, random):
        return torch.from_numpy(self.inputs[ids]), torch.from_numpy(self.targets[ids])


def settings(steps=10, every=100, **optimiser):
    optimiser = {"learning_rate": 0.05, "clip": 1e6} | optimiser
    return Training(
        steps=steps, batch=4, optimiser=Optimiser(**optimiser), checkpoint_every=every, log_every=3
    )


def run(folder, training, rows=None, identity=None):
    model = Regression()
    train(
        model,
        rows or Rows(),
        training=training,
        seed=1,
        folder=folder,
        identity=identity or {"a": 1},
        title="test",
    )
    return model.layer.weight.detach().numpy().astype(np.float64)


def reference(training):
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) and the average, written out in NumPy."""
    rows, optimiser = Rows(), training.optimiser
    weight = np.arange(6.0).reshape(2, 3) / 10
    first, second, average = np.zeros_like(weight), np.zeros_like(weight), weight.copy()
    (beta1, beta2), norms = optimiser.betas, []
    for step in range(training.steps):
        ids = rows.ids(step)
        x, y = rows.inputs[ids].astype(float), rows.targets[ids].astype(float)
        gradient = 2 * (x @ weight.T - y).T @ x / y.size
        norms.append(np.sqrt((gradient**2).sum()))
        if optimiser.clip is not None:
            gradient *= min(1, optimiser.clip / (norms[-1] + 1e-6))
        rate = optimiser.learning_rate * rate_factor(step, training.steps, optimiser)
        weight = weight * (1 - rate * optimiser.weight_decay)
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        corrected = first / (1 - beta1 ** (step + 1)), second / (1 - beta2 ** (step + 1))
        weight = weight - rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        decay = min(optimiser.average, (2 + step) / (11 + step))
        average = decay * average + (1 - decay) * weight
    return weight, average, norms


@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.3}, {"clip": 0.1}, {"clip": None}, {"betas": (0.5, 0.9)}]
)
def test_adamw_follows_its_closed_form(tmp_path, options):
    training = settings(**options)
    weight, _, norms = reference(training)
    np.testing.assert_allclose(run(tmp_path, training), weight, atol=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 9, 10]
    np.testing.assert_allclose(
        [line["gradient_norm"] for line in lines], [norms[i] for i in (2, 5, 8, 9)], 1e-4
    )
    assert {"loss", "learning_rate", "samples_per_second"} <= lines[0].keys()


def test_saved_weights_are_the_average(tmp_path):
    training = settings(steps=40, average=0.7)
    weight, average, _ = reference(training)
    found = run(tmp_path, training)
    np.testing.assert_allclose(found, average, atol=1e-5)
    assert np.abs(found - weight).max() > 1e-4


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    import test_loop
    class KillingRows(test_loop.Rows):
        def ids(self, step):
            if step == 14:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().ids(step)
    test_loop.run(Path({folder!r}), test_loop.settings(20, 6, average=0.9, name={name!r}), KillingRows())
"""


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_killed_run_ends_with_the_same_bytes(tmp_path, name):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    training = settings(20, 6, average=0.9, name=name)
    run(whole, training)
    tests = str(Path(__file__).parent)
    script = textwrap.dedent(KILLED).format(tests=tests, folder=str(killed), name=name)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert [path.name for path in (killed / "checkpoints").glob("*.safetensors")] == [
        "step-000012.safetensors"
    ]
    run(killed, training)
    name = "checkpoints/step-000020.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if k != "samples_per_second"}
            for line in text.splitlines()
        ]
        for text in ((folder / "train.jsonl").read_text() for folder in (whole, killed))
    ]
    assert logs[0] == logs[1]


def test_a_checkpoint_of_other_settings_is_discarded(tmp_path):
    training = settings(8, 4)
    fresh = run(tmp_path / "fresh", training, identity={"a": 2})
    run(tmp_path / "used", training.model_copy(update={"optimiser": Optimiser(learning_rate=0.5)}))
    np.testing.assert_array_equal(run(tmp_path / "used", training, identity={"a": 2}), fresh)


def test_a_truncated_checkpoint_is_not_loaded(tmp_path):
    training = settings(8, 4)
    whole = run(tmp_path, training)
    path = tmp_path / "checkpoints" / "step-000008.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    np.testing.assert_array_equal(run(tmp_path, training), whole)


def test_nan_stops_the_run_names_step_and_ids_and_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(UserError) as caught:
        run(tmp_path, settings(steps=20, every=5), Rows(poison=30))
    message = str(caught.value)
    assert "loss became nan at step 8" in message
    assert "28, 29, 30, 31" in message
    assert "step-000005.safetensors" in message and "\n" not in message
    assert (tmp_path / "checkpoints" / "step-000005.safetensors").exists()


def test_weights_that_the_objective_does_not_use_stay_unchanged(tmp_path):
    class HalfUsed(Regression):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(3, 3)

    model = HalfUsed()
    before = model.unused.weight.detach().clone()
    training = settings(5, weight_decay=0.5)
    train(model, Rows(), training=training, seed=1, folder=tmp_path, identity={}, title="test")
    assert torch.equal(model.unused.weight, before)
    assert not torch.equal(model.layer.weight, Regression().layer.weight)
