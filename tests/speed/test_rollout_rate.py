"""speed/rollout_rate.py: one process, and several at the same time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATES = 4  # of Bridge with one initial state for each task


def program(*words):
    command = [sys.executable, "speed/rollout_rate.py", "--episodes", "1", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=850)


@pytest.mark.exhaustive  # the whole program
def test_rates_of_one_process_and_of_two_together():
    done = program("--benchmarks", "bridge", "--processes", "2")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    [found] = report["benchmarks"].values()
    for policy in ("random", "expert", "vla"):
        assert found[policy]["episodes"] == STATES
        assert found[policy]["episodes_a_minute"] == pytest.approx(
            60 * found[policy]["episodes_per_second"], rel=0.05
        )
    assert found["expert"]["mean_solved"] == 1 and found["vla"]["mean_solved"] < 1
    both = found["together"]
    assert (both["processes"], both["episodes"]) == (2, 2 * STATES)
    assert both["episodes_a_minute"] == pytest.approx(60 * both["episodes"] / both["seconds"], rel=0.02)
    assert both["steps"] >= found["vla"]["steps"]
    rates = both["episodes_a_minute"], found["vla"]["episodes_a_minute"]
    assert both["times_one_process"] == pytest.approx(rates[0] / rates[1], rel=0.02, abs=0.01)


def test_an_unknown_benchmark_is_refused():
    done = program("--benchmarks", "kitchen")
    assert done.returncode == 2 and "kitchen is not a benchmark of config.yaml" in done.stderr
