"""Level and power of the paired tests over training seeds, for a whole table after Holm's correction.

In each simulated table, methods are trained with several seeds, whose skill differs by a normal shift in
logits, and are evaluated on the same initial states. The level is the share of tables of equal methods with
at least one mark. The power is the share of the pairs of one better method (one logit: 17 to 20 points of
success) that get a mark. The test over initial states alone (the exact sign-flip test) stands beside it. The
program prints JSON.

    python speed/seed_tests.py --runs 400
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import Any

import numpy as np

from vlm4vla.analysis.multiplicity import holm
from vlm4vla.analysis.paired import sign_flip
from vlm4vla.analysis.seed_spread import SeedMeans, difference_test, pooled_spread

STATES = 100
SPREADS = (0.0, 0.15, 0.4, 0.8)  # about 0, 3, 8 and 16 points of success between seeds
BETTER = 1.0  # logits
BETWEEN_STATES = 1.0
SIGNIFICANT = 0.05


def outcomes(
    methods: int, seeds: int, spread: float, chains: bool, better: float, random: np.random.Generator
) -> np.ndarray:
    """Outcomes (methods, seeds, states); the first method is `better` by so many logits."""
    skill = random.normal(0, spread, size=(methods, seeds, 1, 1))
    skill[0] += better
    hard = random.normal(0, BETWEEN_STATES, size=(STATES, 5 if chains else 1))
    chance = 1 / (1 + np.exp(-skill - hard))
    solved = random.uniform(size=chance.shape) < chance
    return np.cumprod(solved, axis=-1).sum(axis=-1)


def p_values(table: np.ndarray, most: int) -> tuple[list[float], list[float]]:
    """For each pair of methods, the p value over states and that over seeds and states."""
    means = [SeedMeans.of(method, most) for method in table]
    spread, by_state = pooled_spread(means), table.mean(axis=1)
    if spread is None:
        raise ValueError("several seeds are needed")
    states, both = [], []
    for one, other in itertools.combinations(range(len(table)), 2):
        difference = by_state[one] - by_state[other]
        states.append(sign_flip((table[one] - table[other]).sum(axis=0)))
        test = difference_test(means[one], means[other], difference, spread, most)
        both.append(max(states[-1], test.p_value(float(difference.mean()))))
    return states, both


def measure(methods: int, seeds: int, spread: float, chains: bool, runs: int) -> dict[str, Any]:
    """Level and power of one kind of table."""
    random = np.random.default_rng(5)
    marked, found, differences = np.zeros(2), np.zeros(2), []
    for _ in range(runs):
        for better in (0.0, BETTER):
            table = outcomes(methods, seeds, spread, chains, better, random)
            tests = [np.array(holm(p)) < SIGNIFICANT for p in p_values(table, 5 if chains else 1)]
            if better:
                found += [test[: methods - 1].mean() for test in tests]  # the pairs of the better method
                differences.append(table[0].mean() - table[1:].mean())
            else:
                marked += [test.any() for test in tests]
    return {
        "tables_with_a_false_mark": round(float(marked[1]) / runs, 3),
        "states_alone_false_mark": round(float(marked[0]) / runs, 3),
        "power": round(float(found[1]) / runs, 3),
        "states_alone_power": round(float(found[0]) / runs, 3),
        "true_difference": round(float(np.mean(differences)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400, help="simulated tables for each number")
    parser.add_argument("--methods", type=int, nargs="+", default=[10, 2], help="methods of a table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5], help="training seeds of a method")
    options = parser.parse_args()
    found = {}
    for methods, seeds, spread, chains in itertools.product(
        options.methods, options.seeds, SPREADS, (False, True)
    ):
        name = (
            f"{methods} methods, {seeds} seeds (spread {spread}), {STATES} {'chains' if chains else 'states'}"
        )
        found[name] = measure(methods, seeds, spread, chains, options.runs)
        print(name, found[name], file=sys.stderr)
    print(json.dumps({"runs": options.runs, "level": SIGNIFICANT, "tables": found}, indent=2))


if __name__ == "__main__":
    main()
