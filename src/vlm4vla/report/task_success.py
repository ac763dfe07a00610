"""How often each task of a benchmark was solved when it was tried."""

from __future__ import annotations

import pandas as pd

SEPARATOR = " > "  # between the instructions of a chain, as rollouts write them


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
