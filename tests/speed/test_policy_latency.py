"""speed/policy_latency.py with a tiny backbone: all ways predict the same, and the output adds up.

The measurement through the policy server needs vla-eval: tests/evaluation/simulators/libero.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SPEED = Path(__file__).parents[2] / "speed"
EXACT = 1e-5  # of the action range: rounding in float32


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(SPEED))


def program(*words):
    command = [sys.executable, "policy_latency.py", *words]
    return subprocess.run(command, cwd=SPEED, capture_output=True, text=True, timeout=850)


@pytest.mark.exhaustive  # the whole program
def test_latencies_and_rates_of_a_tiny_policy():
    done = program("--tiny", "--requests", "8", "--batches", "16", "--executed", "2")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["device"] and record["tiny"] is True and "another model" in record["vla_eval"]["what"]
    [found] = record["backbones"].values()
    eager = found["eager"]
    for batch, times in ((1, 8), (16, 2)):
        measured = eager[f"batch_{batch}"]
        assert measured["predictions"] == times
        assert 0 < measured["p50_ms"] <= measured["p95_ms"]
        # Half of the predictions take the median or longer.
        slowest_rate = 2e3 * batch / measured["p50_ms"]
        assert 0 < measured["predictions_a_second"] <= slowest_rate
    apart = eager["differences"]
    assert apart["single"] == 0 and apart["batch"] < EXACT and apart["gripper"] == 0
    assert apart["spread"] > 100 * EXACT  # so answers of other images would not pass
    if importlib.util.find_spec("vla_eval") is None:
        assert "make env-vla-eval" in eager["server"]
    else:
        assert set(eager["server"]) == {"batch_1", "batch_16"}


@pytest.mark.exhaustive
def test_a_compiled_policy_predicts_the_same():
    from full_size import tiny
    from policy_latency import differences, predictions, use_compiled
    from step_time import TASKS, policy_of
    from torch._dynamo.utils import counters

    words = sorted({word for task in TASKS for word in task.split()})
    policy = policy_of(tiny("qwen2.5-vl-3b", words), torch.device("cpu"), True).eval()
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    eager = np.concatenate([predictions(policy, image[None]) for image in images])
    counters.clear()
    use_compiled(policy, "dynamo")
    apart = differences(policy, images, eager, batch=1)
    assert counters["stats"]["unique_graphs"] > 0
    assert max(apart["single"], apart["batch"]) < EXACT < apart["spread"] / 100 and apart["gripper"] == 0
    other = differences(policy, images[::-1].copy(), eager, batch=1)
    assert other["single"] > EXACT  # other images are told apart


def test_full_size_without_a_gpu_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = program()
    assert done.returncode == 2 and "write --tiny" in done.stderr


def test_the_policy_of_the_measured_server_has_all_that_a_server_asks_for():
    pytest.importorskip("vla_eval")
    from served_policy import ServedHere

    from vlm4vla.evaluation.simulators.served_policies import ServedPolicy

    assert set(ServedPolicy.__annotations__) == {"reads_state", "reads_image"}
    assert all(hasattr(ServedHere, name) for name in ServedPolicy.__annotations__)
