"""One variant against another on the same initial states: rows, sentences and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis.estimates import score_metric
from vlm4vla.analysis.paired import Comparison, compare
from vlm4vla.analysis.records import run_of
from vlm4vla.report import names
from vlm4vla.report.cells import Cell, Row
from vlm4vla.report.table import GAP

EXTRA = (
    "seed_sd",
    "compared_with",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
    "test",
    "states",
    "wins",
    "losses",
)
LEVEL = 0.05
NONE = "none"  # no auxiliary task


def add_contrasts(rows: Sequence[Row], records: pd.DataFrame, first: str | None, second: str | None) -> None:
    """Add to each row of a variant the paired difference to the other (in place).

    `first` None: every row is compared as (its variant) minus `second`. `second` None: as `first` minus
    (its variant). A row of the reference variant itself gets nothing.
    """
    reference = second if first is None else first
    for row in rows:
        if row["variant"] == reference:
            continue
        own, other = _run(records, row), _run(records, row | {"variant": reference})
        pair = (own, other) if first is None else (other, own)
        _add(row, compare(*pair, row["metric"]), reference)


def add_auxiliary_contrasts(rows: Sequence[Row], records: pd.DataFrame) -> None:
    """Add to each row of a fine-tuned backbone the paired difference to the same variant of the same backbone
    without an auxiliary task (in place)."""
    for row in rows:
        if row["auxiliary"] != NONE:
            other = _run(records, row | {"auxiliary": NONE})
            _add(row, compare(_run(records, row), other, row["metric"]), NONE)


def _run(records: pd.DataFrame, row: Row) -> pd.DataFrame:
    return run_of(records, *(row[key] for key in Cell._fields))


def _add(row: Row, test: Comparison | None, reference: str | None) -> None:
    if test is not None:
        row |= {
            "compared_with": reference,
            "difference": test.difference,
            "difference_ci_low": test.ci_low,
            "difference_ci_high": test.ci_high,
            "p_value": test.p_value,
            "test": test.test,
            "states": test.states,
            "wins": test.wins,
            "losses": test.losses,
        }


def printed_difference(row: Row) -> str:
    """`-0.41 [-0.62, -0.20]`, percent points for rates."""
    if row.get("difference") is None:
        return GAP
    keys = ("difference", "difference_ci_low", "difference_ci_high")
    value, low, high = (names.number(row["metric"], row[key], signed=True) for key in keys)
    return f"{value} [{low}, {high}]"


def printed_test(row: Row) -> str:
    return GAP if row.get("p_value") is None else f"{row['test']} {names.p_value(row['p_value'])}"


def significant(row: Row, sign: int) -> bool:
    """Whether the row's difference has `sign` and is significant at 5 %."""
    return row.get("p_value") is not None and row["p_value"] < LEVEL and row["difference"] * sign > 0


def score_rows(rows: Sequence[Row], variant: str, benchmark: str) -> list[Row]:
    """The compared rows of one variant on one benchmark, by the benchmark's score."""
    metric = score_metric(benchmark)
    return [
        row
        for row in rows
        if (row["variant"], row["benchmark"], row["metric"]) == (variant, benchmark, metric)
        and row.get("difference") is not None
    ]


def step_sentence(steps: Mapping[str, Any] | None, variants: Sequence[str]) -> str:
    """Whether the variants had equally many VLA training steps; empty when that is not known."""
    if not steps or any(variant not in steps for variant in variants):
        return ""
    counts = {steps[variant] for variant in variants}
    if len(counts) == 1:
        return f"Every policy had {counts.pop()} VLA training steps."
    listed = names.joined([f"{names.variant(variant)} {steps[variant]}" for variant in variants])
    return f"VLA training steps differ: {listed}."
