"""Any number of processes, any strategy, accumulation and resuming give the same curve.

Two processes are started only twice for all tests of this file, because starting them takes longer than their
computation.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import several_processes as small
import torch

from vlm4vla.config.execution import Execution
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.errors import UserError
from vlm4vla.training.loop import train

# Sums in another order, in float32: for losses and norms near 1, the measured differences are about 1e-7.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
ONE_PROCESS = {"execution": {}}
RANDOM = {"dropout": 0.3, "rows": {"noise": 0.5}}
STOPPED_AT = 6  # updates after which a run is stopped; the last checkpoint is that of update 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def single(folder):
    """One process, with the batch in one piece."""
    small.train_once(folder / "single", **ONE_PROCESS)
    return folder / "single"


class Stopped(Exception):
    pass


def stop_single(folder):
    """Start a run of one process that stops in the middle, after its checkpoint."""
    original = small.Rows.ids

    def ids(self, step):
        if step == STOPPED_AT:
            raise Stopped
        return original(self, step)

    small.Rows.ids = ids
    try:
        with pytest.raises(Stopped):
            small.train_once(folder, **ONE_PROCESS)
    finally:
        small.Rows.ids = original


@pytest.fixture(scope="module")
def two(folder):
    """Run trainings in two processes, in folders with these names; the last training meets a NaN.

    Return the completed process with its exit status and output.
    """
    stop_single(folder / "single_then_fsdp2")
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
        "random": {"execution": {"strategy": "fsdp2", "processes": 2, "micro_batch": 2}, **RANDOM},
        "single_then_fsdp2": {"execution": {"strategy": "fsdp2", "processes": 2}},
        "nan": {"execution": {"strategy": "fsdp2", "processes": 2}, "rows": {"poison": 53}},
    }
    script = "import several_processes as s, json, sys, pathlib; "
    script += "s.train_in_processes(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]))"
    return subprocess.run(
        [sys.executable, "-c", script, str(folder), json.dumps(jobs)],
        capture_output=True,
        text=True,
        timeout=850,
        cwd=Path(small.__file__).parent,
    )


@pytest.fixture(scope="module")
def killed(folder):
    """Run two processes under fsdp2, one of which is killed in the middle. Return the error message."""
    rows = {"die": {"step": STOPPED_AT + 1, "rank": 1}}
    with pytest.raises(UserError) as caught:
        small.train_in_processes(
            folder / "killed_runs",
            {"killed": {"execution": {"strategy": "fsdp2", "processes": 2}, "rows": rows}},
        )
    return str(caught.value)


def same(found, expected):
    np.testing.assert_allclose(small.curve(found), small.curve(expected), **CLOSE)
    expected = small.weights(expected)
    for name, value in small.weights(found).items():
        np.testing.assert_allclose(value, expected[name], **CLOSE, err_msg=name)


def test_one_process_follows_the_loop_for_tiny_backbones(tmp_path, single):
    training = small.settings(None)
    model = small.Network()
    train(model, small.Rows(), training=training, seed=1, folder=tmp_path, identity={}, title="test")
    found = {name: value.detach().numpy() for name, value in model.named_parameters()}
    np.savez(tmp_path / "weights.npz", **found)
    same(single, tmp_path)


def test_what_the_objective_does_not_use_stays_unchanged(single):
    torch.manual_seed(0)
    before = small.Network().unused.weight.detach().numpy()
    np.testing.assert_array_equal(small.weights(single)["unused.weight"], before)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_accumulation_equals_the_large_batch(tmp_path, single, size):
    # Samples have different numbers of unmasked rows: a plain mean of the micro-batches' means would differ.
    small.train_once(tmp_path, execution={"micro_batch": size})
    same(tmp_path, single)


def test_without_a_clip_gradients_are_those_of_a_clip_that_no_norm_reaches(tmp_path):
    found = {}
    for clip in (None, 1e9, 1e-3):
        small.train_once(tmp_path / str(clip), execution={}, optimiser={"clip": clip})
        found[clip] = small.weights(tmp_path / str(clip))
    assert all(np.array_equal(found[None][name], value) for name, value in found[1e9].items())
    assert any(np.abs(found[None][name] - value).max() > 1e-6 for name, value in found[1e-3].items())


@pytest.mark.parametrize("name", ["ddp", "ddp_accumulated", "fsdp2", "fsdp2_accumulated"])
def test_two_processes_follow_one(two, folder, single, name):
    same(folder / name, single)


@pytest.mark.exhaustive
def test_muon_on_two_processes_follows_one(two, folder, tmp_path):
    small.train_once(tmp_path, **ONE_PROCESS, optimiser={"name": "muon", "muon_learning_rate": 0.02})
    same(folder / "ddp_muon", tmp_path)


def test_augmentation_and_dropout_depend_on_micro_batches_not_processes(two, folder, tmp_path, single):
    small.train_once(tmp_path, execution={"micro_batch": 2}, **RANDOM)
    same(folder / "random", tmp_path)
    assert np.abs(small.curve(tmp_path) - small.curve(single)).max() > 0.01  # the randomness has an effect


@pytest.mark.parametrize("name", ["fsdp2_bf16", "ddp_bf16"])
def test_bf16_is_near_float32_but_not_equal(two, folder, single, name):
    found, expected = small.curve(folder / name), small.curve(single)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=0.03)  # bfloat16 has 8 bits
    assert np.abs(found - expected).max() > 1e-5
    assert {value.dtype for value in small.weights(folder / name).values()} == {np.dtype("float32")}


def test_a_run_of_one_process_resumes_in_two(two, folder, single):
    same(folder / "single_then_fsdp2", single)


def test_a_killed_fsdp2_run_resumes_in_one_process(killed, folder, single):
    assert "process 1 of 2 was killed by SIGKILL" in killed and "\n" not in killed
    kept = sorted(path.name for path in (folder / "killed_runs" / "killed" / "checkpoints").iterdir())
    assert kept == ["step-000004"]
    small.train_once(folder / "killed_runs" / "killed", **ONE_PROCESS)
    same(folder / "killed_runs" / "killed", single)


def test_nan_stops_every_process_and_names_step_and_ids(two, folder):
    assert two.returncode == 1, two.stderr
    [error] = [line for line in two.stderr.splitlines() if line.startswith("error: ")]
    assert "loss became nan at step 7" in error and "48, 49, 50, 51, 52, 53, 54, 55" in error
    assert str(folder / "nan" / "checkpoints" / "step-000004") in error
    other = (folder / "processes-of-node-0" / "00001.log").read_text()
    assert "loss became nan at step 7" in other


def test_other_precision_or_settings_discard_a_checkpoint(tmp_path):
    small.train_once(tmp_path, **ONE_PROCESS)
    path = tmp_path / "checkpoints" / "step-000012" / "index.json"
    identity = json.loads(path.read_text())["identity"]
    small.train_once(tmp_path, execution={"micro_batch": 4})
    assert json.loads(path.read_text())["identity"] == identity
    small.train_once(tmp_path, execution={"precision": "bf16"})
    assert json.loads(path.read_text())["identity"] != identity


def test_a_checkpoint_with_a_truncated_file_is_not_loaded(tmp_path, single):
    small.train_once(tmp_path, **ONE_PROCESS)
    file = next((tmp_path / "checkpoints").glob("*/*.safetensors"))
    file.write_bytes(file.read_bytes()[:-5])
    small.train_once(tmp_path, **ONE_PROCESS)
    same(tmp_path, single)


def test_several_processes_need_a_launcher(tmp_path):
    with pytest.raises(UserError, match=r"execution\.processes is 2, but this is a single process"):
        small.train_once(tmp_path, execution={"strategy": "ddp", "processes": 2})


def test_a_batch_that_the_started_processes_cannot_share_is_an_error(tmp_path, monkeypatch):
    # Another launcher started three processes, not the configured number.
    monkeypatch.setattr("vlm4vla.training.distributed.loop.ProcessGroup", lambda execution: ThreeProcesses())
    with pytest.raises(UserError, match="3 processes cannot share a batch of 8: write batch 6 or 9, or"):
        small.train_once(tmp_path, **ONE_PROCESS)


class ThreeProcesses:
    rank, world_size, device = 0, 3, torch.device("cpu")


def test_fsdp2_needs_weights_with_rows(tmp_path):
    class Scaled(small.Network):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

    training = Training(
        steps=1, batch=8, optimiser=Optimiser(learning_rate=0.1), execution=Execution(strategy="fsdp2")
    )
    with pytest.raises(UserError, match="fsdp2 cannot shard scale, a single number"):
        train(Scaled(), small.Rows(), training=training, seed=0, folder=tmp_path, identity={}, title="test")
