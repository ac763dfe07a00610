"""How often each 95 % interval of the analysis contains the true value, simulated at the study's sizes.

In the simulation, initial states differ in difficulty (logit-normal), training seeds differ in skill, and
each outcome has luck. A chain stops at the first failure. The true value of an interval without seeds is the
mean over the population of states, and that of a two-level interval the mean over seeds and states. The
program also measures how often the exact tests find a difference that does not exist. It prints JSON.

    python speed/interval_coverage.py --runs 2000
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize, stats

from vlm4vla.analysis.correlation import bootstrap_pearson, pearson
from vlm4vla.analysis.correlation_intervals import (
    kendall_interval,
    pearson_interval,
    spearman_interval,
)
from vlm4vla.analysis.intervals import bootstrap_mean, bounded_mean, wilson
from vlm4vla.analysis.noise_free import noise_free_interval, shared_noise_variance
from vlm4vla.analysis.paired import mcnemar, sign_flip
from vlm4vla.analysis.rankings import Grid, rank_over_benchmarks
from vlm4vla.analysis.rliable import interquartile_mean
from vlm4vla.analysis.seed_spread import SeedMeans, mean_interval, pooled_spread
from vlm4vla.analysis.unpaired import newcombe

QUICK = 1_000  # resamples of a bootstrap within a simulation
BETWEEN_STATES = 1.0  # standard deviation of the states' difficulty, in logits
# Standard deviations of the seeds' skill, in logits: 0, 3, 8 and 16 points of success at a rate of 50 %.
SEEDS = (0.0, 0.15, 0.4, 0.8)
POLICIES = 10  # of a table, over which the spread of the seeds is pooled
LENGTHS = (0.006, 0.012, 0.024, 0.1, 0.5, 2.5, 4.5, 4.9, 4.976, 4.99)
PLAIN = "percentile bootstrap, for comparison,"
RATES = (0.1, 0.3, 0.5, 0.7, 0.9)


def success(
    shift: float | np.ndarray, seeds: int, states: int, spread: float, random: np.random.Generator
) -> np.ndarray:
    """Outcomes (seeds, states) of one policy. `shift`: its skill in logits, or (states,) for each state."""
    skill = random.normal(0, spread, size=(seeds, 1)) if spread else 0.0
    hard = random.normal(0, BETWEEN_STATES, size=(1, states))
    return (random.uniform(size=(seeds, states)) < expit(shift + skill + hard)).astype(float)


def chains(shift: float, seeds: int, states: int, spread: float, random: np.random.Generator) -> np.ndarray:
    """Chain lengths (seeds, states), 0 to 5."""
    skill = random.normal(0, spread, size=(seeds, 1, 1)) if spread else 0.0
    hard = random.normal(0, BETWEEN_STATES, size=(1, states, 5))
    solved = random.uniform(size=(seeds, states, 5)) < expit(shift + skill + hard)
    return np.cumprod(solved, axis=2).sum(axis=2).astype(float)


def expit(x: np.ndarray | float) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def mean_rate(shift: float, spread: float) -> float:
    """Mean success rate over states and seeds, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    deviation = np.hypot(BETWEEN_STATES, spread)
    return float((weights * expit(shift + deviation * nodes)).sum() / weights.sum())


def mean_length(shift: float, spread: float) -> float:
    """Mean chain length. For one seed, the five instructions have equal rates and are independent."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    inner = (weights * expit(shift + spread * nodes[:, None] + BETWEEN_STATES * nodes)).sum(axis=1)
    rate = inner / weights.sum()
    lengths = sum(rate**count for count in range(1, 6))
    return float((weights * lengths).sum() / weights.sum())


def shift_of(rate: float) -> float:
    """The logit at which the mean success rate over the states is `rate`."""
    low, high = -8.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_rate(middle, 0.0) < rate else (low, middle)
    return low


def shift_of_length(length: float) -> float:
    """The logit at which the mean chain length over the states is `length`."""
    return float(optimize.brentq(lambda shift: mean_length(shift, 0.0) - length, -12.0, 14.0))


def coverage(
    draw: Callable[[np.random.Generator], Any],
    interval: Callable[[Any, int], tuple[float, float]],
    truth: float,
    runs: int,
) -> dict[str, float]:
    """The share of `runs` in which the interval contains `truth`, the shares of misses, the mean width."""
    random = np.random.default_rng(7)
    bounds = np.array([interval(draw(random), run) for run in range(runs)])
    contained = (bounds[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= bounds[:, 1])
    return {
        "coverage": round(float(contained.mean()), 4),
        "too_high": round(float((bounds[:, 0] > truth + 1e-12).mean()), 4),
        "too_low": round(float((bounds[:, 1] < truth - 1e-12).mean()), 4),
        "width": round(float((bounds[:, 1] - bounds[:, 0]).mean()), 4),
    }


def one_seed(runs: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for rate in RATES:
        shift = shift_of(rate)
        for states in (96, 100, 500):
            found[f"Wilson, {states} states, rate {rate}"] = coverage(
                lambda random, n=states, s=shift: success(s, 1, n, 0, random).sum(),
                lambda wins, run, n=states: wilson(wins, n),
                mean_rate(shift, 0.0),
                runs,
            )
        for count in (100, 1000):
            found[f"bounded mean over {count} chains, rate {rate}"] = coverage(
                lambda random, n=count, s=shift: chains(s, 1, n, 0, random)[0],
                lambda values, run: bounded_mean(values, (0, 5), resamples=QUICK, seed=run),
                mean_length(shift, 0.0),
                runs,
            )
    return found


def near_the_ends(runs: int) -> dict[str, Any]:
    """Average lengths from nearly 0 to nearly 5, and the percentile bootstrap on the same draws."""
    found: dict[str, Any] = {}
    for length in LENGTHS:
        shift = shift_of_length(length)
        for count in (100, 1000):

            def draw(random: np.random.Generator, n: int = count, s: float = shift) -> np.ndarray:
                return chains(s, 1, n, 0, random)[0]

            for name, interval in {
                "bounded mean": lambda values, run: bounded_mean(values, (0, 5), resamples=QUICK, seed=run),
                PLAIN: lambda values, run: bootstrap_mean(values, resamples=QUICK, seed=run),
            }.items():
                found[f"{name} over {count} chains, mean length {length}"] = coverage(
                    draw, interval, mean_length(shift, 0.0), runs
                )
        spread = SEEDS[1]
        found[f"pooled, 3 seeds (spread {spread}), 100 chains, mean length {length}"] = coverage(
            lambda random, s=shift, v=spread: table(chains, s, 3, 100, v, random),
            lambda values, run: over_seeds(values, most=5),
            mean_length(shift, spread),
            runs,
        )
    return found


def paired_difference(runs: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for first, second in ((0.5, 0.5), (0.7, 0.5), (0.9, 0.8), (0.3, 0.1)):
        shifts = shift_of(first), shift_of(second)

        def pair(random: np.random.Generator, n: int, shifts: tuple[float, float] = shifts) -> np.ndarray:
            hard = random.normal(0, BETWEEN_STATES, size=n)
            one, two = (random.uniform(size=n) < expit(shift + hard) for shift in shifts)
            return one.astype(float) - two

        for states in (96, 100):
            found[f"paired difference, {states} states, rates {first} and {second}"] = coverage(
                lambda random, n=states, draw=pair: draw(random, n),
                lambda values, run: bounded_mean(values, (-1, 1), resamples=QUICK, seed=run),
                first - second,
                runs,
            )
        found[f"Newcombe, 96 and 96 states, rates {first} and {second}"] = coverage(
            lambda random, rates=(first, second): tuple(random.binomial(96, rates).tolist()),
            lambda wins, run: newcombe(wins[0], 96, wins[1], 96),
            first - second,
            runs,
        )
    return found


def table(
    draw: Callable[..., np.ndarray],
    shift: float,
    seeds: int,
    states: int,
    spread: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Outcomes (policies, seeds, states) of equal methods. Each policy has its own states, for simplicity."""
    return np.stack([draw(shift, seeds, states, spread, random) for _ in range(POLICIES)])


def over_seeds(
    outcomes: np.ndarray, task: np.ndarray | None = None, most: int = 1, pooled: bool = True
) -> tuple[float, float]:
    """The interval of the first policy of a table, with the pooled spread of the seeds or its own."""
    spread = pooled_spread([SeedMeans.of(each, most) for each in outcomes]) if pooled else None
    task = np.zeros(outcomes.shape[2], dtype=int) if task is None else task
    return mean_interval(outcomes[0], task, spread, most)


def several_seeds(runs: int) -> dict[str, Any]:
    """Means over several training seeds, with the spread pooled over a table or of the policy alone."""
    found: dict[str, Any] = {}
    task = np.arange(100) // 10
    for seeds in (2, 3, 5):
        for spread in SEEDS:
            for rate in (0.05, 0.3, 0.7):
                shift, key = shift_of(rate), f"{seeds} seeds (spread {spread})"
                for name, pooled in (("pooled", True), ("one policy alone", False)):
                    found[f"{name}, {key}, 100 states, rate {rate}"] = coverage(
                        lambda random, k=seeds, s=shift, v=spread: table(success, s, k, 100, v, random),
                        lambda values, run, p=pooled: over_seeds(values, task, pooled=p),
                        mean_rate(shift, spread),
                        runs,
                    )
                found[f"pooled, {key}, 100 chains, rate {rate}"] = coverage(
                    lambda random, k=seeds, s=shift, v=spread: table(chains, s, k, 100, v, random),
                    lambda values, run: over_seeds(values, most=5),
                    mean_length(shift, spread),
                    runs,
                )
    return found


def ranges(intervals: dict[str, Any]) -> dict[str, list[float]]:
    """The lowest and highest coverage by kind, number of seeds and spread."""
    groups: dict[str, list[float]] = {}
    for name, each in intervals.items():
        groups.setdefault(", ".join(name.split(", ")[:2]), []).append(each["coverage"])
    return {name: [min(own), max(own)] for name, own in groups.items()}


def correlations(runs: int) -> dict[str, Any]:
    """Intervals of r, rho and tau over 4 to 10 backbones, and of r between true scores under noise."""
    found: dict[str, Any] = {}
    for points in (4, 5, 7, 9, 10):
        for r in (0.0, 0.5, 0.8, 0.95):

            def draw(random: np.random.Generator, n: int = points, r: float = r) -> np.ndarray:
                return random.multivariate_normal([0, 0], [[1, r], [r, 1]], size=n).T

            about = f"{points} backbones, r {r}"
            for name, interval, truth in (
                ("Pearson,", lambda scores, run: pearson_interval(pearson(*scores), scores.shape[1]), r),
                (PLAIN, lambda scores, run: bootstrap_pearson(*scores, resamples=QUICK, seed=run), r),
                ("Spearman,", _of(stats.spearmanr, spearman_interval), 6 / np.pi * np.arcsin(r / 2)),
                ("Kendall,", _of(stats.kendalltau, kendall_interval), 2 / np.pi * np.arcsin(r)),
            ):
                found[f"{name} {about}"] = coverage(draw, interval, float(truth), runs)
    return found | without_noise(runs)


def _of(coefficient: Callable[..., Any], interval: Callable[..., Any]) -> Callable[[Any, int], Any]:
    return lambda scores, run: interval(float(coefficient(*scores).statistic), scores.shape[1])


def without_noise(runs: int) -> dict[str, Any]:
    """The interval of r between true scores: backbones with fixed rates, seen in questions and rollouts.

    The true scores have exactly the correlation r. All policies share the initial states.
    """
    found: dict[str, Any] = {}
    for points in (4, 7, 10):
        for r in (0.0, 0.5, 0.8, 1.0):
            for spread in (0.05, 0.15):
                rates = 0.5 + spread * _with_correlation(r, points)

                def draw(random: np.random.Generator, rates: np.ndarray = rates) -> tuple[Any, ...]:
                    x = random.binomial(200, rates[0]) / 200
                    chance = rates[1] + random.uniform(-0.2, 0.2, size=(100, 1))
                    solved = (random.uniform(size=chance.shape) < chance).astype(float)
                    noise = float((x * (1 - x)).mean() / 200), shared_noise_variance(solved)
                    return x, solved.mean(axis=0), *noise

                name = f"r without noise, {points} backbones, rates 0.5 with spread {spread}, r {r}"
                found[name] = coverage(
                    draw, lambda seen, run: noise_free_interval(*seen, draws=QUICK, seed=run), r, runs
                )
    return found


def _with_correlation(r: float, points: int) -> np.ndarray:
    """Fixed scores (2, points) with mean 0, standard deviation 1 and exactly the correlation `r`."""
    x, y = np.random.default_rng(points).uniform(-1, 1, size=(2, points))
    x = (x - x.mean()) / x.std(ddof=1)
    y = y - y.mean() - x * (x @ y) / (x @ x)
    return np.stack([x, r * x + np.sqrt(1 - r * r) * y / y.std(ddof=1)])


def interquartile_means(runs: int) -> dict[str, Any]:
    """One policy on 4 tasks of 24 states and 10 of 50. The true value is the expected interquartile mean."""
    levels = np.random.default_rng(4)
    skill = {"bridge": levels.normal(0, 1.5, size=4), "libero-10": levels.normal(0, 1.5, size=10)}

    def draw(random: np.random.Generator, seeds: int, spread: float, shift: float) -> dict[str, Grid]:
        grids = {}
        for name, states in (("bridge", 24), ("libero-10", 50)):
            task = np.repeat(np.arange(len(skill[name])), states)
            values = success(shift + skill[name][task], seeds, len(task), spread, random)
            grids[name] = Grid(name, values[None], task.astype(str))
        return grids

    def measured(grids: dict[str, Grid]) -> float:
        return float(interquartile_mean(np.concatenate([grid.scores().ravel() for grid in grids.values()])))

    found: dict[str, Any] = {}
    alone = {name: np.zeros((1, 1)) for name in skill}
    for seeds, spread in ((1, 0.0), (3, 0.0), (3, SEEDS[1]), (5, SEEDS[1])):
        for shift in (0.0, -2.0):
            random = np.random.default_rng(3)
            truth = float(np.mean([measured(draw(random, seeds, spread, shift)) for _ in range(2000)]))
            found[f"interquartile mean, {seeds} seeds (spread {spread}), true value {truth:.2f}"] = coverage(
                lambda random, k=seeds, v=spread, s=shift: draw(random, k, v, s),
                lambda grids, run: rank_over_benchmarks(grids, QUICK, run, alone)[0].iqm_ci,
                truth,
                runs,
            )
    return found


def false_calls(runs: int) -> dict[str, float]:
    """For each test, the share of equal policies that it calls different at the 5 % level."""
    random, shift = np.random.default_rng(11), shift_of(0.5)
    found = {}
    for states in (96, 100):
        calls = 0
        for _ in range(runs):
            hard = random.normal(0, BETWEEN_STATES, size=states)
            one, two = (random.uniform(size=states) < expit(shift + hard) for _ in range(2))
            calls += mcnemar(int((one & ~two).sum()), int((two & ~one).sum())) < 0.05
        found[f"McNemar, {states} states"] = calls / runs
    calls = 0
    for _ in range(runs):
        pair = chains(shift, 2, 100, 0.0, random)
        calls += sign_flip((pair[0] - pair[1]).astype(int)) < 0.05
    found["sign-flip, 100 chains"] = calls / runs
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="simulated studies for each number")
    parser.add_argument("--several", action="store_true", help="only means over several training seeds")
    parser.add_argument("--ends", action="store_true", help="only average lengths near 0 and 5")
    parser.add_argument("--correlations", action="store_true", help="only correlations over 4 to 10 points")
    parser.add_argument("--iqm", action="store_true", help="only interquartile means over tasks and seeds")
    options = parser.parse_args()
    runs = options.runs
    parts = {"ends": near_the_ends, "iqm": interquartile_means, "correlations": correlations}
    chosen = [measure for name, measure in parts.items() if getattr(options, name)]
    if chosen:
        only = {name: each for measure in chosen for name, each in measure(runs).items()}
        print(json.dumps({"runs": runs, "nominal": 0.95, "intervals": only}, indent=2))
        return
    if options.several:
        found = several_seeds(runs)
        print(
            json.dumps(
                {"runs": runs, "nominal": 0.95, "coverage": ranges(found), "intervals": found}, indent=2
            )
        )
        return
    intervals = one_seed(runs) | near_the_ends(runs)
    intervals |= paired_difference(runs) | several_seeds(runs) | correlations(runs)
    low, high = stats.binom.interval(0.99, runs, 0.95)
    outside = {
        name: each["coverage"]
        for name, each in intervals.items()
        if not name.startswith(PLAIN) and not 0.93 <= each["coverage"] <= 0.97
    }
    print(
        json.dumps(
            {
                "runs": runs,
                "nominal": 0.95,
                "by_chance": [low / runs, high / runs],  # 99 % range of the share of a perfect interval
                "outside_93_to_97": outside,
                "intervals": intervals,
                "false_calls_at_5_percent": false_calls(runs),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
