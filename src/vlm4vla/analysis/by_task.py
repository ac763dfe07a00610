"""Success by task: an exploratory grid of policies and tasks, with control of the false-discovery rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.multiplicity import benjamini_hochberg
from vlm4vla.analysis.paired import sign_flip
from vlm4vla.analysis.seed_spread import SeedMeans, difference_test, pooled_spread
from vlm4vla.analysis.stopped import can_stop
from vlm4vla.conventions.episodes import SEPARATOR

METRIC = "success_rate"


def success_by_task(cells: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """A row for every policy and every task on which it was evaluated.

    `cells`: name of a policy -> its records on one benchmark. Columns: model, task, value, ci_low, ci_high,
    episodes, seeds, `difference`, `p_value`, `p_adjusted`. `difference`: the policy minus the mean of the
    other policies, on the initial states and the number of training seeds that all policies share.
    `p_value`: the larger of two exact p values of the difference (`exchange_test` and `sign_flip`), which
    treat the trained policies as fixed, and with several seeds also that of a test over seeds and states
    (`seed_spread.difference_test`, with the spread of the seeds on the task pooled over the policies).
    `p_adjusted`: adjusted over the whole grid (Benjamini and Hochberg). `difference` and p values are None
    if no other policy has a state of the task in common, and for a policy whose rollouts could stop early:
    these tests need a fixed number of states. A policy without records has no row.

    The test by exchange is exact for policies that are alike. The sign-flip test alone is not: near 0 % and
    100 %, a policy that differs from the others by chance differs on many states in the same direction. The
    test by exchange alone is not enough: it also rejects for a policy that solves as many states as the
    others, but different ones.
    """
    cells = {name: records for name, records in cells.items() if not records.empty}
    tasks = dict.fromkeys(task for records in cells.values() for task in sorted(records["task"].unique()))
    rows = []
    for task in sorted(tasks):
        own = {name: records[records["task"] == task] for name, records in cells.items()}
        own = {name: records for name, records in own.items() if not records.empty}
        full = {name: records for name, records in own.items() if not can_stop(records)}
        outcomes = _shared_outcomes(full) if full else np.empty((0, 0, 0))
        states, seeds = outcomes.sum(axis=1), outcomes.shape[1]
        tested = list(full) if len(full) > 1 and states.shape[1] > 0 else []
        exchanged = exchange_test(states) if tested else np.empty(0)
        over_seeds = _over_seeds(outcomes) if tested else np.empty(0)
        for name, records in own.items():
            found = estimate(records, METRIC)
            test: dict[str, Any] = {"difference": None, "p_value": None}
            if name in tested:
                index = tested.index(name)
                # Multiplied by seeds and policies, so that differences are whole numbers.
                difference = len(full) * states[index] - states.sum(axis=0)
                test = {
                    "difference": float(difference.mean()) / (len(full) - 1) / seeds,
                    "p_value": max(float(exchanged[index]), float(over_seeds[index]), sign_flip(difference)),
                }
            rows.append(
                {
                    "model": name,
                    "task": task,
                    "value": found.value,
                    "ci_low": found.ci_low,
                    "ci_high": found.ci_high,
                    "episodes": found.episodes,
                    "seeds": found.seeds,
                    **test,
                }
            )
    adjusted = benjamini_hochberg([row["p_value"] for row in rows])
    return [row | {"p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]


def exchange_test(outcomes: np.ndarray) -> np.ndarray:
    """Exact two-sided p value of every policy, (policies,).

    `outcomes` (policies, states) are whole numbers from 0. Hypothesis: at each state, the policies' outcomes
    could be exchanged. Then the policy's outcome at a state is one of the outcomes of all policies there,
    each with the same probability and independently of the other states. The p value is the probability of a
    sum over states at least as far from the mean of the policies' sums as the measured sum. The distribution
    of the sum is computed one state at a time, so all exchanges are counted. Raises ValueError if there is no
    policy, or if an outcome is negative or not whole.
    """
    outcomes = np.asarray(outcomes)
    if outcomes.ndim != 2 or not len(outcomes):
        raise ValueError(f"outcomes have the shape {outcomes.shape}: pass (policies, initial states)")
    if outcomes.size and (outcomes.min() < 0 or not np.equal(np.mod(outcomes, 1), 0).all()):
        raise ValueError("outcomes must be whole numbers from 0")
    whole = outcomes.astype(np.int64)
    policies = len(whole)
    weights = np.ones(1)  # weights[s] = P(sum of the outcomes so far = s)
    for state in whole.T:
        weights = np.convolve(weights, np.bincount(state) / policies)
    distance = np.abs(policies * np.arange(len(weights)) - whole.sum())
    measured = np.abs(policies * whole.sum(axis=1) - whole.sum())
    return np.array([min(1.0, float(weights[distance >= each].sum())) for each in measured])


def _over_seeds(outcomes: np.ndarray) -> np.ndarray:
    """p value of every policy minus the mean of the others over seeds and states, (policies,).

    `outcomes` (policies, seeds, states) are 0 or 1. With one seed, the p values are 0, and do not count.
    """
    means = [SeedMeans.of(each, 1.0) for each in outcomes]
    spread, by_state = pooled_spread(means), outcomes.mean(axis=1)
    if spread is None:
        return np.zeros(len(outcomes))
    found = []
    for index, own in enumerate(means):
        others = [each for each in means if each is not own]
        together = SeedMeans(
            score=float(np.mean([each.score for each in others])),
            seeds=sum(each.seeds for each in others),
            states=own.states,
            variance=float(np.mean([each.variance for each in others])),
            luck=float(np.mean([each.luck for each in others])),
        )
        difference = by_state[index] - np.delete(by_state, index, axis=0).mean(axis=0)
        test = difference_test(own, together, difference, spread, 1.0)
        found.append(test.p_value(float(difference.mean())))
    return np.array(found)


def _shared_outcomes(cells: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """Successes (policies, seeds, states) on the shared states.

    Each policy enters with the same number of training seeds: the ones that all share, or else its first.
    Sums over different numbers of seeds have different variances and could not be exchanged.
    """
    trained = [set(records["seed"]) for records in cells.values()]
    shared = set.intersection(*trained)
    count = len(shared) or min(map(len, trained))
    tables = []
    for records in cells.values():
        chosen = shared or set(sorted(set(records["seed"]))[:count])
        own = records[records["seed"].isin(chosen)]
        tables.append(own.pivot(index="seed", columns="episode", values="success").dropna(axis=1))
    states = sorted(set.intersection(*(set(table.columns) for table in tables)))
    return np.stack([table[states].to_numpy().astype(np.int64) for table in tables])


def attempts_by_task(records: pd.DataFrame) -> pd.DataFrame:
    """Columns model, variant, task, tried, solved of one benchmark's records, over all training seeds.

    A chain attempts its instructions in order until one fails. So instruction i (from 0) was tried if at
    least i instructions were solved, and solved if more than i were solved. The remaining instructions of a
    chain were not tried.
    """
    columns = ["model", "variant", "task", "tried", "solved"]
    if records.empty:
        return pd.DataFrame(columns=columns)
    chains = records[["model", "variant", "solved"]].assign(
        task=records["task"].str.split(SEPARATOR, regex=False)
    )
    attempts = chains.reset_index(drop=True).explode("task")
    attempts["index"] = attempts.groupby(level=0).cumcount()
    attempts = attempts[attempts["index"] <= attempts["solved"]]
    attempts["success"] = attempts["index"] < attempts["solved"]
    grouped = attempts.groupby(["model", "variant", "task"])["success"].agg(tried="size", solved="sum")
    return grouped.reset_index()[columns].astype({"tried": "int64", "solved": "int64"})
