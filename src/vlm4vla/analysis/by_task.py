"""Success by task: an exploratory grid of policies and tasks, with control of the false-discovery rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.multiplicity import benjamini_hochberg
from vlm4vla.analysis.paired import sign_flip
from vlm4vla.conventions.episodes import SEPARATOR

METRIC = "success_rate"


def success_by_task(cells: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """A row for every policy and every task on which it was evaluated.

    `cells`: name of a policy -> its records on one benchmark. Columns: model, task, value, ci_low, ci_high,
    episodes, seeds, `difference`, `p_value`, `p_adjusted`. `difference`: the policy minus the mean of the
    other policies, on the initial states and the number of training seeds that all policies share.
    `p_value`: the larger of two exact p values of the difference (`exchange_test` and `sign_flip`).
    `p_adjusted`: adjusted over the whole grid (Benjamini and Hochberg). The tests treat the trained policies
    as fixed. `difference` and the p values are None if no other policy has a state of the task in common. A
    policy without records has no row.

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
        states, seeds = _shared_states(own)
        tested = len(own) > 1 and states.shape[1] > 0
        exchanged = exchange_test(states) if tested else np.ones(len(own))
        for index, (name, records) in enumerate(own.items()):
            found = estimate(records, METRIC)
            test: dict[str, Any] = {"difference": None, "p_value": None}
            if tested:
                # Multiplied by seeds and policies, so that differences are whole numbers.
                difference = len(own) * states[index] - states.sum(axis=0)
                test = {
                    "difference": float(difference.mean()) / (len(own) - 1) / seeds,
                    "p_value": max(float(exchanged[index]), sign_flip(difference)),
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


def _shared_states(cells: Mapping[str, pd.DataFrame]) -> tuple[np.ndarray, int]:
    """Successes summed over seeds on the shared states, (policies, states), and the number of seeds.

    Each policy enters with the same number of training seeds: the ones that all share, or else its first.
    Sums over different numbers of seeds have different variances and could not be exchanged.
    """
    trained = [set(records["seed"]) for records in cells.values()]
    shared = set.intersection(*trained)
    count = len(shared) or min(map(len, trained))
    sums = []
    for records in cells.values():
        chosen = shared or sorted(set(records["seed"]))[:count]
        by_state = records[records["seed"].isin(chosen)].groupby("episode")["success"].agg(["sum", "count"])
        sums.append(by_state[by_state["count"] == count]["sum"].astype("int64"))
    return pd.concat(sums, axis=1, join="inner").to_numpy().T, count


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
