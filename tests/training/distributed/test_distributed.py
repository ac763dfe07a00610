"""Several processes, any strategy, accumulation, resuming: one and the same curve.

Two processes are started twice for all tests of this file: starting them takes longer than what they compute.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import several_processes as small
import torch

from vlm4vla.config.execution import Execution
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.errors import UserError
from vlm4vla.training.loop import train

# Sums of other orders in float32: measured differences are some 1e-7 of losses and norms near 1.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
ALONE = {"execution": {}}
DROPPING = {"dropout": 0.3, "rows": {"noise": 0.5}}
STOPPED_AT = 6  # updates after which a run is stopped; a checkpoint lies at 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def alone(folder):
    """One process, the batch in one piece."""
    small.one(folder / "alone", **ALONE)
    return folder / "alone"


class Stopped(Exception):
    pass


def stop_one(where):
    """A run of one process that ends in the middle, after its checkpoint."""
    before = small.Rows.ids

    def ids(self, step):
        if step == STOPPED_AT:
            raise Stopped
        return before(self, step)

    small.Rows.ids = ids
    try:
        with pytest.raises(Stopped):
            small.one(where, **ALONE)
    finally:
        small.Rows.ids = before


@pytest.fixture(scope="module")
def two(folder):
    """Trainings by two processes, in folders of these names; the last one meets a NaN. Returns how it ended
    and what was said."""
    stop_one(folder / "alone_then_fsdp2")
    jobs = {
        "ddp": {"execution": {"strategy": "ddp", "processes": 2}},
        "ddp_accumulated": {"execution": {"strategy": "ddp", "processes": 2, "micro_batch": 2}},
        "fsdp2": {"execution": {"strategy": "fsdp2", "processes": 2}},
        "fsdp2_accumulated": {"execution": {"strategy": "fsdp2", "processes": 2, "micro_batch": 1}},
        "fsdp2_bf16": {"execution": {"strategy": "fsdp2", "processes": 2, "precision": "bf16"}},
        "ddp_bf16": {"execution": {"strategy": "ddp", "processes": 2, "precision": "bf16"}},
        "ddp_muon": {
            "execution": {"strategy": "ddp", "processes": 2},
            "optimiser": {"name": "muon", "muon_learning_rate": 0.02},
        },
        "dropping": {"execution": {"strategy": "fsdp2", "processes": 2, "micro_batch": 2}, **DROPPING},
        "alone_then_fsdp2": {"execution": {"strategy": "fsdp2", "processes": 2}},
        "nan": {"execution": {"strategy": "fsdp2", "processes": 2}, "rows": {"poison": 53}},
    }
    script = "import several_processes as s, json, sys, pathlib; "
    script += "s.together(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))"
    return subprocess.run(
        [sys.executable, "-c", script, str(folder), json.dumps(jobs)],
        capture_output=True,
        text=True,
        timeout=850,
        cwd=small.Path(__file__).parent,
    )


@pytest.fixture(scope="module")
def killed(folder):
    """Two processes under fsdp2, of which one is killed in the middle."""
    rows = {"die": {"step": STOPPED_AT + 1, "rank": 1}}
    with pytest.raises(UserError) as caught:
        small.together(
            folder / "by_itself",
            {"killed": {"execution": {"strategy": "fsdp2", "processes": 2}, "rows": rows}},
        )
    return str(caught.value)


def same(found, expected):
    np.testing.assert_allclose(small.curve(found), small.curve(expected), **CLOSE)
    expected = small.weights(expected)
    for name, value in small.weights(found).items():
        np.testing.assert_allclose(value, expected[name], **CLOSE, err_msg=name)


def test_one_process_follows_the_path_for_tiny_backbones(tmp_path, alone):
    training = small.settings(None)
    model = small.Network()
    train(model, small.Rows(), training=training, seed=1, folder=tmp_path, identity={}, title="test")
    found = {name: value.detach().numpy() for name, value in model.named_parameters()}
    np.savez(tmp_path / "weights.npz", **found)
    same(alone, tmp_path)


def test_what_the_objective_does_not_reach_stays(alone):
    torch.manual_seed(0)
    before = small.Network().unused.weight.detach().numpy()
    np.testing.assert_array_equal(small.weights(alone)["unused.weight"], before)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_accumulation_equals_the_large_batch(tmp_path, alone, size):
    # Samples have different numbers of unmasked rows: a mean of micro-batches' means would be another loss.
    small.one(tmp_path, execution={"micro_batch": size})
    same(tmp_path, alone)


@pytest.mark.parametrize("name", ["ddp", "ddp_accumulated", "fsdp2", "fsdp2_accumulated"])
def test_two_processes_follow_one(two, folder, alone, name):
    same(folder / name, alone)


def test_muon_on_two_processes_follows_one(two, folder, tmp_path):
    small.one(tmp_path, **ALONE, optimiser={"name": "muon", "muon_learning_rate": 0.02})
    same(folder / "ddp_muon", tmp_path)


def test_augmentation_and_dropout_follow_micro_batches_not_processes(two, folder, tmp_path, alone):
    small.one(tmp_path, execution={"micro_batch": 2}, **DROPPING)
    same(folder / "dropping", tmp_path)
    assert np.abs(small.curve(tmp_path) - small.curve(alone)).max() > 0.01  # there was something to follow


@pytest.mark.parametrize("name", ["fsdp2_bf16", "ddp_bf16"])
def test_bf16_stays_near_float32_and_is_not_it(two, folder, alone, name):
    found, expected = small.curve(folder / name), small.curve(alone)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=0.03)  # bfloat16 has 8 bits
    assert np.abs(found - expected).max() > 1e-5
    assert {value.dtype for value in small.weights(folder / name).values()} == {np.dtype("float32")}


def test_one_process_checkpoint_goes_on_in_two(two, folder, alone):
    same(folder / "alone_then_fsdp2", alone)


def test_killed_fsdp2_run_goes_on_in_one_process(killed, folder, alone):
    assert "process 1 of 2 was ended by SIGKILL" in killed and "\n" not in killed
    kept = sorted(path.name for path in (folder / "by_itself" / "killed" / "checkpoints").iterdir())
    assert kept == ["step-000004"]
    small.one(folder / "by_itself" / "killed", **ALONE)
    same(folder / "by_itself" / "killed", alone)


def test_nan_stops_every_process_with_step_and_ids(two, folder):
    assert two.returncode == 1, two.stderr
    said = [line for line in two.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert "loss became nan at step 7" in said[0] and "48, 49, 50, 51, 52, 53, 54, 55" in said[0]
    assert str(folder / "nan" / "checkpoints" / "step-000004") in said[0]
    other = (folder / "processes-of-node-0" / "00001.log").read_text()
    assert "loss became nan at step 7" in other


def test_other_precision_or_settings_discard_a_checkpoint(tmp_path):
    small.one(tmp_path, **ALONE)
    path = tmp_path / "checkpoints" / "step-000012" / "index.json"
    identity = json.loads(path.read_text())["identity"]
    small.one(tmp_path, execution={"micro_batch": 4})
    assert json.loads(path.read_text())["identity"] == identity
    small.one(tmp_path, execution={"precision": "bf16"})
    assert json.loads(path.read_text())["identity"] != identity


def test_a_checkpoint_with_a_cut_file_is_not_taken(tmp_path, alone):
    small.one(tmp_path, **ALONE)
    file = next((tmp_path / "checkpoints").glob("*/*.safetensors"))
    file.write_bytes(file.read_bytes()[:-5])
    small.one(tmp_path, **ALONE)
    same(tmp_path, alone)


def test_processes_that_nobody_started_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"execution\.processes is 2, and this is one process"):
        small.one(tmp_path, execution={"strategy": "ddp", "processes": 2})


def test_a_batch_that_started_processes_cannot_share_is_refused(tmp_path, monkeypatch):
    # Started as three by someone else than the configuration says.
    monkeypatch.setattr("vlm4vla.training.distributed.loop.Group", lambda execution: Three())
    with pytest.raises(UserError, match="3 processes cannot share a batch of 8: write batch 6 or 9, or"):
        small.one(tmp_path, **ALONE)


class Three:
    rank, world, device = 0, 3, torch.device("cpu")


def test_fsdp2_refuses_a_weight_without_rows(tmp_path):
    class Scaled(small.Network):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

    training = Training(
        steps=1, batch=8, optimiser=Optimiser(learning_rate=0.1), execution=Execution(strategy="fsdp2")
    )
    with pytest.raises(UserError, match="fsdp2 cannot cut scale, a single number"):
        train(Scaled(), small.Rows(), training=training, seed=0, folder=tmp_path, identity={}, title="test")
