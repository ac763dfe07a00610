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
    other policies, on the initial states that all policies share. `p_value`: sign-flip test of the
    difference. `p_adjusted`: adjusted over the whole grid (Benjamini and Hochberg). `difference` and the p
    values are None if no other policy has a state of the task in common. A policy without records has no row.
    """
    cells = {name: records for name, records in cells.items() if not records.empty}
    tasks = dict.fromkeys(task for records in cells.values() for task in sorted(records["task"].unique()))
    rows = []
    for task in sorted(tasks):
        own = {name: records[records["task"] == task] for name, records in cells.items()}
        own = {name: records for name, records in own.items() if not records.empty}
        states = _shared_states(own)
        for index, (name, records) in enumerate(own.items()):
            found = estimate(records, METRIC)
            test: dict[str, Any] = {"difference": None, "p_value": None}
            if len(own) > 1 and states.shape[1]:
                others = len(own) - 1
                total = states.sum(axis=0)
                # Multiplied by seeds and others, so that differences are whole numbers.
                difference = others * states[index] - (total - states[index])
                seeds = _common_denominator(own)
                test = {
                    "difference": float(difference.mean()) / others / seeds,
                    "p_value": sign_flip(difference),
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


def _common_denominator(cells: Mapping[str, pd.DataFrame]) -> int:
    """The least common multiple of the policies' numbers of seeds."""
    return int(np.lcm.reduce([records["seed"].nunique() for records in cells.values()]))


def _shared_states(cells: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """(policies, states): successes summed over seeds, with a common denominator, on the shared states."""
    denominator = _common_denominator(cells)
    sums = []
    for records in cells.values():
        seeds = records["seed"].nunique()
        by_state = records.groupby("episode")["success"].agg(["sum", "count"])
        by_state = by_state[by_state["count"] == seeds]["sum"]
        sums.append(by_state.astype("int64") * (denominator // seeds))
    return pd.concat(sums, axis=1, join="inner").to_numpy().T if sums else np.zeros((0, 0))


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
