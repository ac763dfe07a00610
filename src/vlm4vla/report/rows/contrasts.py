"""One variant against another on the same initial states: rows, tests of a table together, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis.multiplicity import FALSE_DISCOVERY, HOLM, benjamini_hochberg, holm
from vlm4vla.analysis.paired import Comparison, compare
from vlm4vla.analysis.records import run_of
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.cells import Cell, Row
from vlm4vla.report.rows.table import GAP

EXTRA = (
    "seed_sd",
    "compared_with",
    "difference",
    "difference_ci_low",
    "difference_ci_high",
    "p_value",
    "p_adjusted",
    "adjustment",
    "test",
    "states",
    "wins",
    "losses",
    "effect_size",
    "needed",
    "agreement",
)
LEVEL = 0.05
MARK = "*"
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
    _adjust(rows)


def add_auxiliary_contrasts(rows: Sequence[Row], records: pd.DataFrame) -> None:
    """Add to each row of a fine-tuned backbone the paired difference to the same variant of the same backbone
    without an auxiliary task (in place)."""
    for row in rows:
        if row["auxiliary"] != NONE:
            other = _run(records, row | {"auxiliary": NONE})
            _add(row, compare(_run(records, row), other, row["metric"]), NONE)
    _adjust(rows)


def _adjust(rows: Sequence[Row]) -> None:
    """Add adjusted p values (in place): Holm over the tests of the benchmarks' scores, which the table speaks
    of; Benjamini-Hochberg over the others, its finer measures."""
    tested = [row for row in rows if row.get("p_value") is not None]
    for adjust, name, main in ((holm, HOLM, True), (benjamini_hochberg, FALSE_DISCOVERY, False)):
        chosen = [row for row in tested if (row["metric"] == score_metric(row["benchmark"])) == main]
        for row, p in zip(chosen, adjust([row["p_value"] for row in chosen]), strict=True):
            row |= {"p_adjusted": p, "adjustment": name}


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
            "effect_size": test.effect_size,
            "shared_seeds": test.seeds,
            "needed": test.needed,
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


def printed_adjusted(row: Row) -> str:
    """`0.012 *`, `0.43 (n 912)` for an undecided pair, `0.001 (seeds)`; see `adjustment_sentence`."""
    if row.get("p_adjusted") is None:
        return GAP
    p = names.p_value(row["p_adjusted"]).removeprefix("p ").removeprefix("= ")
    if significant(row, +1) or significant(row, -1):
        return f"{p} {MARK}"
    if hinges_on_seeds(row):
        return f"{p} (seeds)"
    return f"{p} (n {printed_needed(row['needed'])})"


def printed_needed(needed: int | None) -> str:
    """The initial states that an undecided pair needs; none would do for policies that scored the same."""
    return GAP if needed is None else str(needed)


def adjustment_sentence(rows: Sequence[Row]) -> str:
    """What the mark and the n beside an adjusted p mean, with the number of tests; empty without tests."""
    tests = [row for row in rows if row.get("adjustment") == HOLM]
    if not tests:
        return ""
    words = f"{MARK}: differs at the 5 % level after Holm's correction for the table's {len(tests)} tests"
    if any(row["shared_seeds"] > 1 for row in tests):
        words += ", and its interval over training seeds and states leaves out 0"
    words += (
        ". Where it does not: (n) paired initial states that the same test, unadjusted, would need for 80 % "
        f"power if the difference seen were the true one ({GAP}: more than a million, or no difference)"
    )
    if any(hinges_on_seeds(row) for row in tests):
        words += (
            "; (seeds) these trained policies differ, but the interval over training seeds holds 0: more "
            "seeds are needed, not more states"
        )
    return f"{words}."


def significant(row: Row, sign: int) -> bool:
    """Whether the row's difference has `sign` and is significant at 5 % after correction.

    The test takes the trained policies for given. With several training seeds the interval, which holds their
    spread, must leave out 0 too.
    """
    if row.get("p_adjusted") is None or row["p_adjusted"] >= LEVEL or row["difference"] * sign <= 0:
        return False
    return row["shared_seeds"] < 2 or row["difference_ci_low"] > 0 or row["difference_ci_high"] < 0


def hinges_on_seeds(row: Row) -> bool:
    """Whether the trained policies differ, and only the spread of training seeds keeps it from being more."""
    tested = row.get("p_adjusted") is not None and row["p_adjusted"] < LEVEL
    return tested and not significant(row, +1) and not significant(row, -1)


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
    told = {variant: names.steps(steps[variant]) for variant in variants}
    if len(set(told.values())) == 1:
        return f"Every policy had {told[variants[0]]} VLA training steps."
    listed = names.joined([f"{names.variant(variant)} {told[variant]}" for variant in variants])
    return f"VLA training steps differ: {listed}."
