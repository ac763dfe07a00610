"""Errors and saved rollouts of an evaluation that stops early, simulated, beside another package's tests.

Two policies are compared on up to `--states` initial states. The reference is rolled out in full, as
`evaluation.stop` does, so a rollout that is saved is one of the evaluated policy. Scenarios: equal policies
and differences of 10, 25 and 40 points, at several base rates, for successes and for chains of five
instructions (a difference is a share of the largest average length). States are either all alike or differ
in difficulty (logit-normal with standard deviation 1, the same for both policies).

On the same draws, with the same error for each direction, the program runs the tests of the package
sequentialized-barnard-tests if its environment is given. They take successes only, so a chain counts as
solved or not. The program prints JSON. For each scenario and test: `decided`, the share of runs with a
decision; `wrong`, those with a wrong one (the type I error if policies are equal); `rollouts`, the mean
number of states used and its standard error; `saved`, the share of rollouts saved. `fixed` is the exact test
after all states. `in blocks of 20` counts rollouts up to the end of the block.

    make env-barnard
    python speed/early_stopping.py --package-python .venv-barnard/bin/python
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlm4vla.analysis.paired import sign_flip
from vlm4vla.analysis.sequential import HIGHER, UNDECIDED, SequentialTest

BLOCK = 20
CHAIN = 5
BETWEEN_STATES = 1.0  # standard deviation of the states' difficulty, in logits
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


class Scenario(NamedTuple):
    """`base`: the reference policy's mean outcome as a share of the largest. `length`: 1, or 5 for chains."""

    base: float
    difference: float
    varies: bool
    length: int

    @property
    def name(self) -> str:
        kind = "chains of 5" if self.length > 1 else "successes"
        states = "differ" if self.varies else "alike"
        return f"{kind}, {self.base:g} + {self.difference:g}, states {states}"


def scenarios() -> Iterator[Scenario]:
    rates = {0.0: (0.05, 0.1, 0.3, 0.5, 0.8), 0.1: (0.05, 0.3, 0.45), 0.25: (0.02, 0.1, 0.375, 0.5, 0.7)}
    rates[0.4] = (0.1, 0.3, 0.55)
    for difference, bases in rates.items():
        for base in bases:
            for varies in (False, True):
                yield Scenario(base, difference, varies, 1)
    for difference, bases in {0.0: (0.05, 0.4), 0.1: (0.4,), 0.25: (0.1, 0.4), 0.4: (0.3,)}.items():
        for base in bases:
            yield Scenario(base, difference, True, CHAIN)


def expit(x: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def mean_outcome(shift: float, spread: float, length: int) -> float:
    """Mean share of the instructions of a chain that are solved, over states, by Gauss-Hermite quadrature."""
    rate = float((WEIGHTS * expit(shift + spread * NODES)).sum() / WEIGHTS.sum())
    return sum(rate**count for count in range(1, length + 1)) / length


def shift_of(share: float, spread: float, length: int) -> float:
    """The logit at which the mean outcome is `share` of the maximum."""
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        below = mean_outcome(middle, spread, length) < share
        low, high = (middle, high) if below else (low, middle)
    return low


def draw(scenario: Scenario, runs: int, states: int, random: np.random.Generator) -> np.ndarray:
    """Outcomes (2, runs, states): instructions solved by the evaluated and by the reference policy."""
    base, difference, varies, length = scenario
    spread = BETWEEN_STATES if varies else 0.0
    hard = spread * random.standard_normal((runs, states, length))
    solved = [
        random.uniform(size=hard.shape) < expit(shift_of(share, spread, length) + hard)
        for share in (base + difference, base)
    ]
    return np.cumprod(solved, axis=3).sum(axis=3)


def ours(outcomes: np.ndarray, most: int, alpha: float, hopeless: float) -> tuple[np.ndarray, np.ndarray]:
    """States used (runs,) and sign of the decision (runs,), 0 without one."""
    used, signs = [], []
    for own, other in zip(*outcomes.tolist(), strict=True):
        test = SequentialTest(len(own), alpha, most, hopeless)
        for pair in zip(own, other, strict=True):
            test.add(*pair)
            if test.stop:
                break
        used.append(test.states)
        signs.append(0 if test.outcome == UNDECIDED else 1 if test.outcome == HIGHER else -1)
    return np.array(used), np.array(signs)


def fixed(outcomes: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The exact sign-flip test on all states: states used (runs,) and sign of the decision (runs,)."""
    differences = outcomes[0] - outcomes[1]
    signs = [int(np.sign(each.sum())) if sign_flip(each) <= alpha else 0 for each in differences]
    return np.full(len(differences), differences.shape[1]), np.array(signs)


def summary(used: np.ndarray, signs: np.ndarray, scenario: Scenario, states: int) -> dict[str, float]:
    wrong = signs != 0 if scenario.difference == 0 else signs < 0
    return {
        "decided": round(float((signs != 0).mean()), 4),
        "wrong": round(float(wrong.mean()), 4),
        "rollouts": round(float(used.mean()), 2),
        "standard_error": round(float(used.std(ddof=1) / math.sqrt(len(used))), 2),
        "saved": round(1 - float(used.mean()) / states, 3),
    }


def package(python: str, draws: dict[str, np.ndarray], alpha: float, slow_runs: int) -> dict[str, Any]:
    """Results of early_stopping_package.py, in the environment of `python`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "draws.npz"
        np.savez(path, **draws)
        program = Path(__file__).with_name("early_stopping_package.py")
        command = [python, str(program), str(path), str(alpha), str(slow_runs)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{program.name} failed in the environment of {python}: see its message above")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--states", type=int, default=100)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--package-python", help="python of an environment made by `make env-barnard`")
    parser.add_argument("--slow-runs", type=int, default=50, help="runs for the slow tests Lai and SAVI")
    parser.add_argument("--only", default="", help="only scenarios with this text in their names")
    arguments = parser.parse_args()
    runs, states, alpha = arguments.runs, arguments.states, arguments.alpha

    chosen = [each for each in scenarios() if arguments.only in each.name]
    draws = {
        each.name: draw(each, runs, states, np.random.default_rng([7, number]))
        for number, each in enumerate(scenarios())
        if each in chosen
    }
    tests: dict[str, Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]] = {
        "fixed": lambda outcomes, most: fixed(outcomes, alpha),
        "ours": lambda outcomes, most: ours(outcomes, most, alpha, hopeless=0.05),
        "ours, to the end if undecided": lambda outcomes, most: ours(outcomes, most, alpha, hopeless=0.0),
    }
    rows: dict[str, dict[str, Any]] = {}
    used_by_us = {}
    for scenario in chosen:
        row = rows[scenario.name] = {}
        for name, test in tests.items():
            used, signs = test(draws[scenario.name], scenario.length)
            row[name] = summary(used, signs, scenario, states)
            if name == "ours":
                used_by_us[scenario.name] = used
                blocks = np.minimum(states, -(-used // BLOCK) * BLOCK)
                row[f"in blocks of {BLOCK}"] = summary(blocks, signs, scenario, states)
    record: dict[str, Any] = {"runs": runs, "states": states, "alpha": alpha}
    if arguments.package_python:
        successes = {each.name: (draws[each.name] == each.length).astype(np.int64) for each in chosen}
        found = package(arguments.package_python, successes, alpha, arguments.slow_runs)
        record["package"] = f"sequentialized-barnard-tests {found['version']}"
        for scenario in chosen:
            for name, results in found["tests"].items():
                if len(results[scenario.name]) < 2:
                    continue
                stopped, signs = np.array(results[scenario.name]).T
                used = np.where(stopped == 0, states, stopped)
                row = rows[scenario.name]
                row[name] = summary(used, signs, scenario, states)
                more = used_by_us[scenario.name][: len(used)] - used
                row[name]["ours_minus_this"] = round(float(more.mean()), 2)
                row[name]["its_standard_error"] = round(float(more.std(ddof=1) / math.sqrt(len(more))), 2)
                row[name]["runs"] = len(used)
    print(json.dumps(record | {"scenarios": rows}, indent=1))


if __name__ == "__main__":
    main()
