"""Policies whose rollouts could stop early: columns of their rows, the mark, and the caption's sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis.stopped import AGAINST, BLOCK, PLANNED, can_stop
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.report import marks, names

MARK = marks.STOPPED
STOPPED = "stopped"  # the column of the CSV
Record = Mapping[str, Any]


def stop_columns(records: pd.DataFrame) -> dict[str, Any]:
    """Columns for the rows of one cell whose rollouts could stop early; {} for other cells.

    `stop_against`: the policy that ended the rollouts. `stop_looks`: number of looks at the outcomes.
    `stop_states`: number of initial states of each training seed. `stop_planned`: number of all states.
    `stopped`: `40 of 100` if the rollout of a seed ended early, else None.
    """
    if not can_stop(records):
        return {}
    first = records[records[PLANNED] > 0].iloc[0]
    planned, counts = int(first[PLANNED]), [int(count) for count in records.groupby("seed").size()]
    early = min(counts) < planned
    return {
        "stop_against": str(first[AGAINST]),
        "stop_looks": math.ceil(planned / int(first[BLOCK])),
        "stop_states": counts,
        "stop_planned": planned,
        STOPPED: f"{_span(counts)} of {planned}" if early else None,
    }


def stop_mark(row: Record) -> str:
    """` ¶40` for a cell that stopped after 40 states, ` ¶40-60` for several seeds; empty for other cells."""
    return f" {MARK}{_span(row['stop_states'])}" if row.get(STOPPED) else ""


def _span(counts: Sequence[int]) -> str:
    return "-".join(str(count) for count in dict.fromkeys((min(counts), max(counts))))


def stop_sentence(rows: Sequence[Record]) -> str:
    """What early stops mean for the numbers of a table; empty if no rollout of its `rows` could stop."""
    could = [row for row in rows if row.get("stop_against")]
    if not could:
        return ""
    others = names.joined(list(dict.fromkeys(map(_other, could))))
    parts = [
        "Some rollouts ran in blocks and could stop early: as soon as a sequential test had decided whether "
        f"the policy differs from {others}.",
        "Every test with such a policy is sequential and uses the initial states that both policies have. "
        "Its p value is valid at any stopping time. Intervals of such policies and of their differences are "
        f"valid at every look: each has the level 1 - 0.05 / {_looks(could)}.",
    ]
    if any(row.get(STOPPED) for row in could):
        planned = {row["benchmark"]: row["stop_planned"] for row in could if row.get(STOPPED)}
        full = names.joined([f"{count} on {facts(name).title}" for name, count in planned.items()])
        parts.append(
            f"{MARK}: stopped early, after so many of the initial states (in full: {full}). Such a "
            "score is biased: its distance from the policy it was compared with is too large on average. "
            "With several training seeds, only the states that all seeds have count. Statistics of several "
            "policies together, such as ranks, use the states that all of them have."
        )
    return " ".join(parts)


def _looks(rows: Sequence[Record]) -> str:
    return " or ".join(str(count) for count in sorted({row["stop_looks"] for row in rows}))


def _other(row: Record) -> str:
    model, auxiliary, variant = row["stop_against"].split("/")
    if model != row["model"]:
        return names.model(model)
    if auxiliary != (row.get("auxiliary") or "none"):
        return "the same backbone without an auxiliary task"
    return f"the same backbone, {names.variant(variant)}"
