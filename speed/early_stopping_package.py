"""Runs the sequential tests of the package sequentialized-barnard-tests on draws from early_stopping.py.

This program runs in that package's own environment (envs/barnard) and imports nothing of vlm4vla:

    python early_stopping_package.py DRAWS.npz ALPHA SLOW_RUNS

DRAWS.npz holds an array (2, runs, states) of 0 and 1 for each scenario. Lai and SAVI are slow and get only
the first SLOW_RUNS runs. The program prints JSON: for each test and scenario, the states until the decision
of each run (0: no decision) and its sign.

The package's default bounds the error of each direction by alpha. Its mode `ranking` gives alpha / 2 to each
direction, as a two-sided test at alpha does, so this mode is used. STEP's policy is made at the first call
and takes seconds to minutes. STEP draws random numbers at its boundary; run number k has the seed k.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version

import numpy as np
from sequentialized_barnard_tests import Decision, Hypothesis
from sequentialized_barnard_tests.lai import MirroredLaiTest
from sequentialized_barnard_tests.savi import MirroredSaviTest
from sequentialized_barnard_tests.step import MirroredStepTest

SIGNS = {Decision.AcceptAlternative: 1, Decision.AcceptNull: -1}


def tests(n_max, alpha):
    """The mirrored tests by name, at alpha / 2 for each direction."""
    more = Hypothesis.P0MoreThanP1
    return {
        "STEP": MirroredStepTest(more, n_max, alpha, random_seed=0, inference_mode="ranking"),
        "Lai": MirroredLaiTest(more, n_max, alpha, inference_mode="ranking"),
        "SAVI": MirroredSaviTest(more, alpha, inference_mode="ranking"),
    }


def main():
    path, alpha, slow_runs = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    found = {}
    output = os.dup(1)
    os.dup2(2, 1)  # the package and the programs that it starts print messages
    with np.load(path, allow_pickle=False) as draws:
        made = {}
        for scenario in draws.files:
            first, second = draws[scenario]
            n_max = first.shape[1]
            made = made or tests(n_max, alpha)
            for name, test in made.items():
                runs = len(first) if name == "STEP" else min(len(first), slow_runs)
                stopped = []
                for run in range(runs):
                    if name == "STEP":
                        test.random_seed = run
                    stopped.append(until_decided(test, first[run].tolist(), second[run].tolist()))
                found.setdefault(name, {})[scenario] = stopped
    with os.fdopen(output, "w") as file:
        json.dump({"version": version("sequentialized-barnard-tests"), "tests": found}, file)


def until_decided(test, first, second):
    """States until the decision, and its sign; (0, 0) without a decision."""
    test.reset()
    for state, pair in enumerate(zip(first, second, strict=True), start=1):
        sign = SIGNS.get(test.step(*pair).decision, 0)
        if sign:
            return state, sign
    return 0, 0


if __name__ == "__main__":
    main()
