"""speed/early_stopping.py: its draws have the stated means, and its table follows from them."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vlm4vla.analysis.paired import sign_flip

SPEED = Path(__file__).parents[2] / "speed"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("early_stopping", SPEED / "early_stopping.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["early_stopping"] = module
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    command = [sys.executable, "early_stopping.py", *arguments]
    return subprocess.run(command, cwd=SPEED, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("varies", [False, True])
def test_draws_have_the_stated_means(program, length, varies):
    scenario = program.Scenario(0.3, 0.25, varies, length)
    own, other = program.draw(scenario, 400, 100, np.random.default_rng(0)) / length
    assert own.mean() == pytest.approx(0.55, abs=0.01)
    assert other.mean() == pytest.approx(0.3, abs=0.01)
    together = np.corrcoef(own.ravel(), other.ravel())[0, 1]
    assert together > 0.1 if varies else abs(together) < 0.02


def test_the_fixed_test_is_the_exact_one_on_all_states(program):
    outcomes = np.array([[[1] * 6, [1, 1, 1, 1, 1, 0]], [[0] * 6, [0] * 6]])
    used, signs = program.fixed(outcomes, 0.05)
    assert used.tolist() == [6, 6] and signs.tolist() == [1, 0]
    assert sign_flip(np.ones(6)) == 2 / 64 and sign_flip(np.ones(5)) == 2 / 32


def test_a_summary_counts_wrong_decisions_and_saved_rollouts(program):
    used, signs = np.array([10, 20, 30, 40]), np.array([1, -1, 0, 1])
    found = program.summary(used, signs, program.Scenario(0.3, 0.25, False, 1), 50)
    assert (found["decided"], found["wrong"]) == (0.75, 0.25)
    assert (found["rollouts"], found["saved"]) == (25, 0.5)
    assert found["standard_error"] == pytest.approx(6.45, abs=0.01)
    assert program.summary(used, signs, program.Scenario(0.3, 0.0, False, 1), 50)["wrong"] == 0.75


def test_output_has_every_test_on_the_chosen_scenarios():
    done = run("--runs", "30", "--states", "40", "--only", "0.3 + 0.4")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert len(record["scenarios"]) == 3
    for row in record["scenarios"].values():
        assert row["fixed"]["rollouts"] == 40
        assert row["ours"]["rollouts"] <= row["ours, to the end if undecided"]["rollouts"] < 30
        assert row["ours"]["rollouts"] <= row["in blocks of 20"]["rollouts"] <= 40
        assert row["ours"]["decided"] > 0.7 and row["ours"]["wrong"] == 0


def test_an_environment_without_the_package_is_said():
    done = run("--runs", "2", "--states", "8", "--only", "0.3 + 0.4", "--package-python", sys.executable)
    assert done.returncode == 1
    assert "sequentialized_barnard_tests" in done.stderr and "early_stopping_package.py failed" in done.stderr


def test_the_packages_tests_run_on_the_same_draws():
    python = SPEED.parent / ".venv-barnard/bin/python"
    if not python.exists():
        pytest.skip("run `make env-barnard` first")
    done = run(
        *("--runs", "20", "--states", "20", "--slow-runs", "2", "--only", "0.3 + 0.4"),
        *("--package-python", str(python)),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["package"].startswith("sequentialized-barnard-tests 0.")
    for row in record["scenarios"].values():
        for name in ("STEP", "Lai", "SAVI"):
            assert row[name]["rollouts"] <= 20 and row[name]["wrong"] == 0
        assert row["STEP"]["ours_minus_this"] == pytest.approx(
            row["ours"]["rollouts"] - row["STEP"]["rollouts"], abs=0.011
        )
