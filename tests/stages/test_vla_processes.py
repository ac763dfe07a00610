"""The command `vlm4vla vla` with two processes, killed and resumed with one, against an undisturbed run."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_inputs import log_without_times
from vla_settings import settings

from vlm4vla.backbones import build
from vlm4vla.cli import main
from vlm4vla.config.backbones import Backbone
from vlm4vla.config.training import Optimiser, Training
from vlm4vla.core.artefacts import Provenance
from vlm4vla.policies.policy import Policy
from vlm4vla.stages.vla import run

STEPS = 12
TASK = "reach for the red block"
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # float32, with sums in another order


def settings_with(**execution):
    optimiser = Optimiser(learning_rate=1e-3, average=0.5)
    values = {"steps": STEPS, "batch": 4, "optimiser": optimiser, "checkpoint_every": 2, "log_every": 1}
    return settings(training=Training.model_validate(values | {"execution": execution}))


@pytest.mark.exhaustive
def test_killed_with_two_processes_and_resumed_with_one(tmp_path, backbone, demonstrations, monkeypatch):
    two = settings_with(strategy="fsdp2", processes=2, micro_batch=2)
    output = tmp_path / "two"
    command = ["vla", "--settings", json.dumps(two.model_dump(mode="json")), "--backbone", str(backbone)]
    command += ["--demonstrations", str(demonstrations), "--output", str(output)]
    launcher = subprocess.Popen([sys.executable, "-m", "vlm4vla.cli", *command])
    while not list(output.glob("checkpoints/*/index.json")):
        assert launcher.poll() is None
        time.sleep(0.05)
    workers = [int(pid) for pid in _children(launcher.pid)]
    assert len(workers) == 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    while any(_is_running(pid) for pid in workers):
        time.sleep(0.05)
    assert not (output / "provenance.json").exists()
    [kept] = output.glob("checkpoints/*/index.json")
    assert json.loads(kept.read_text())["step"] < STEPS  # the run was killed in the middle

    monkeypatch.setenv("VLM4VLA_PROCESSES", "1")
    assert main(command) == 0
    record = json.loads((output / "provenance.json").read_text())
    assert record["settings"]["training"]["execution"]["processes"] == 2
    left = sorted(path.name for path in output.iterdir() if not path.name.startswith("."))
    own = ["README.md", "backbone", "policy.json", "policy.safetensors"]
    processor = [
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert left == sorted([*own, *processor, "provenance.json", "train.jsonl"])

    run(
        settings_with(micro_batch=2),
        backbone=backbone,
        demonstrations=demonstrations,
        output=tmp_path / "one",
    )
    found, expected = (log_without_times(folder) for folder in (output, tmp_path / "one"))
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    for key in ("loss", "gradient_norm"):
        np.testing.assert_allclose(
            [line[key] for line in found], [line[key] for line in expected], **CLOSE, err_msg=key
        )
    policies = [Policy.load(folder) for folder in (output, tmp_path / "one")]
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    pose = [policy.predict(images, [TASK] * 2)[..., :6] for policy in policies]
    np.testing.assert_allclose(*pose, atol=1e-3)


@pytest.mark.exhaustive
def test_a_model_type_without_its_own_adapter_in_two_processes(tmp_path, demonstrations):
    words = TASK.split()
    tiny = Backbone(family="gemma3", parameters_b=1, tiny={}, pretraining="any")
    build(tiny, "gemma3", words, 64, 0).save(tmp_path / "backbone")
    Provenance("backbone", {}, {}, 0).write(tmp_path / "backbone" / "provenance.json")
    for name, execution in (("one", {}), ("two", {"strategy": "fsdp2", "processes": 2})):
        chosen = settings_with(micro_batch=2, **execution)
        command = ["vla", "--settings", json.dumps(chosen.model_dump(mode="json"))]
        command += ["--backbone", str(tmp_path / "backbone"), "--demonstrations", str(demonstrations)]
        done = subprocess.run(
            [sys.executable, "-m", "vlm4vla.cli", *command, "--output", str(tmp_path / name)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    found, expected = (log_without_times(tmp_path / name) for name in ("two", "one"))
    for key in ("loss", "gradient_norm"):
        np.testing.assert_allclose(
            [line[key] for line in found], [line[key] for line in expected], **CLOSE, err_msg=key
        )
    policies = [Policy.load(tmp_path / name) for name in ("two", "one")]
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    pose = [policy.predict(images, [TASK] * 2)[..., :6] for policy in policies]
    np.testing.assert_allclose(*pose, atol=1e-3)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def _is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
