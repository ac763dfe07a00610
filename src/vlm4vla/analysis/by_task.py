"""Success by task: an exploratory grid of policies and tasks, with false-discovery control."""

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
    """A row for every policy of `cells` (name -> records on one benchmark) and every task that it met.

    Columns: model, task, value, ci_low, ci_high, episodes, seeds; and `p_value`, `p_adjusted` of the
    difference to the mean of the other policies on the same initial states (`difference`): sign-flip test,
    over the states that all have, adjusted after Benjamini and Hochberg over the whole grid. Without
    another policy on the task these are None. A policy without records has no row.
    """
    cells = {name: records for name, records in cells.items() if not records.empty}
    tasks = dict.fromkeys(task for records in cells.values() for task in sorted(records["task"].unique()))
    rows = []
    for task in sorted(tasks):
        own = {name: records[records["task"] == task] for name, records in cells.items()}
        own = {name: records for name, records in own.items() if not records.empty}
        states = _shared(own)
        for index, (name, records) in enumerate(own.items()):
            found = estimate(records, METRIC)
            test: dict[str, Any] = {"difference": None, "p_value": None}
            if len(own) > 1 and states.shape[1]:
                others = len(own) - 1
                total = states.sum(axis=0)
                difference = others * states[index] - (total - states[index])  # times seeds: whole numbers
                seeds = _denominator(own)
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


def _denominator(cells: Mapping[str, pd.DataFrame]) -> int:
    """A number of seeds that every policy's number divides."""
    return int(np.lcm.reduce([records["seed"].nunique() for records in cells.values()]))


def _shared(cells: Mapping[str, pd.DataFrame]) -> np.ndarray:
    """(policies, states): successes over the seeds, at one denominator, on the states that all met."""
    whole = _denominator(cells)
    sums = []
    for records in cells.values():
        seeds = records["seed"].nunique()
        by_state = records.groupby("episode")["success"].agg(["sum", "count"])
        by_state = by_state[by_state["count"] == seeds]["sum"]
        sums.append(by_state.astype("int64") * (whole // seeds))
    return pd.concat(sums, axis=1, join="inner").to_numpy().T if sums else np.zeros((0, 0))


def by_task(records: pd.DataFrame) -> pd.DataFrame:
    """Columns model, variant, task, tried, solved of one benchmark's records, all training seeds together.

    A chain tries its instructions in order until one fails: the i-th (from 0) was tried when i of them were
    solved before it, and solved when more than i were. What a chain never came to is not tried.
    """
    columns = ["model", "variant", "task", "tried", "solved"]
    if records.empty:
        return pd.DataFrame(columns=columns)
    chains = records[["model", "variant", "solved"]].assign(
        task=records["task"].str.split(SEPARATOR, regex=False)
    )
    steps = chains.reset_index(drop=True).explode("task")
    steps["place"] = steps.groupby(level=0).cumcount()
    steps = steps[steps["place"] <= steps["solved"]]
    steps["right"] = steps["place"] < steps["solved"]
    grouped = steps.groupby(["model", "variant", "task"])["right"].agg(tried="size", solved="sum")
    return grouped.reset_index()[columns].astype({"tried": "int64", "solved": "int64"})
