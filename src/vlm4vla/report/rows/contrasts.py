"""Paired differences between policies on the same initial states: rows, adjusted tests, printed cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis.multiplicity import FALSE_DISCOVERY, HOLM, benjamini_hochberg, holm
from vlm4vla.analysis.paired import Comparison, compare
from vlm4vla.analysis.records import cell_records
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.cells import Cell, Row
from vlm4vla.report.rows.table import GAP

EXTRA = (  # columns that a table with contrasts adds to the tidy ones
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
Test = tuple[Row, Comparison]


def add_contrasts(
    rows: Sequence[Row], records: pd.DataFrame, reference: str, *, reference_first: bool = False
) -> None:
    """Add to each row its paired difference to the variant `reference` of the same backbone (in place).

    The difference is the row's variant minus the reference, or with `reference_first` the reference minus the
    row's variant. Rows of the reference itself get nothing.
    """
    tests: list[Test] = []
    for row in rows:
        if row["variant"] == reference:
            continue
        own, other = _run(records, row), _run(records, row | {"variant": reference})
        pair = (other, own) if reference_first else (own, other)
        tests += _add(row, compare(*pair, row["metric"]), reference)
    _adjust(tests)


def add_auxiliary_contrasts(rows: Sequence[Row], records: pd.DataFrame) -> None:
    """Add to each row of a fine-tuned backbone its paired difference to the same variant of the same backbone
    without an auxiliary task (in place)."""
    tests: list[Test] = []
    for row in rows:
        if row["auxiliary"] != NONE:
            other = _run(records, row | {"auxiliary": NONE})
            tests += _add(row, compare(_run(records, row), other, row["metric"]), NONE)
    _adjust(tests)


def _adjust(tests: Sequence[Test]) -> None:
    """Add adjusted p values, and the states that a test at the level of Holm's first step needs (in place).

    Holm's correction covers the tests of the benchmarks' scores, on which the table's sentences are based.
    The correction of Benjamini and Hochberg covers the tests of the other metrics.
    """
    for adjust, name, main in ((holm, HOLM, True), (benjamini_hochberg, FALSE_DISCOVERY, False)):
        chosen = [
            (row, test) for row, test in tests if (row["metric"] == score_metric(row["benchmark"])) == main
        ]
        for (row, test), p in zip(chosen, adjust([test.p_value for _, test in chosen]), strict=True):
            needed = test.needed(LEVEL / len(chosen), decided=p < LEVEL)
            row |= {"p_adjusted": p, "adjustment": name, "needed": needed}


def _run(records: pd.DataFrame, row: Row) -> pd.DataFrame:
    return cell_records(records, *(row[key] for key in Cell._fields))


def _add(row: Row, test: Comparison | None, reference: str | None) -> list[Test]:
    """Add the comparison to the row (in place); the row with it, or nothing without a test."""
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
        }
    return [] if test is None else [(row, test)]


def printed_difference(row: Row) -> str:
    """`-0.41 [-0.62, -0.20]`, with rates in percentage points."""
    if row.get("difference") is None:
        return GAP
    keys = ("difference", "difference_ci_low", "difference_ci_high")
    value, low, high = (names.number(row["metric"], row[key], signed=True) for key in keys)
    return f"{value} [{low}, {high}]"


def printed_test(row: Row) -> str:
    """`McNemar p = 0.012`."""
    return GAP if row.get("p_value") is None else f"{row['test']} {names.p_value(row['p_value'])}"


def printed_adjusted(row: Row) -> str:
    """`0.012 *`, `0.43 (n 912)` for an undecided pair, or `0.001 (seeds)`; see `adjustment_sentence`."""
    if row.get("p_adjusted") is None:
        return GAP
    p = names.p_number(row["p_adjusted"])
    if significant(row, +1) or significant(row, -1):
        return f"{p} {MARK}"
    if hinges_on_seeds(row):
        return f"{p} (seeds)"
    return f"{p} (n {printed_needed(row['needed'])})"


def printed_needed(needed: int | None) -> str:
    """The initial states that an undecided pair needs; a dash if no number of states would be enough."""
    return GAP if needed is None else str(needed)


def adjustment_sentence(rows: Sequence[Row]) -> str:
    """The number of tests, and what the mark and n next to an adjusted p mean; empty without tests."""
    tests = [row for row in rows if row.get("adjustment") == HOLM]
    if not tests:
        return ""
    sentence = (
        f"{MARK}: the difference is significant at the 5 % level after Holm's correction for the table's "
        f"{len(tests)} tests"
    )
    if any(row["shared_seeds"] > 1 for row in tests):
        sentence += ", and its interval over training seeds and initial states excludes 0"
    sentence += (
        ". Otherwise, (n) is the number of paired initial states that the same test, at the level of Holm's "
        "first step and with at least one state more, would need for 80 % power if the measured difference "
        f"were the true one ({GAP}: more than a million, or no difference)"
    )
    if any(hinges_on_seeds(row) for row in tests):
        sentence += (
            "; (seeds) means that these trained policies differ, but the interval over training seeds "
            "includes 0: more seeds are needed, not more initial states"
        )
    return f"{sentence}."


def significant(row: Row, sign: int) -> bool:
    """Whether the row's difference has `sign` and is significant at 5 % after correction.

    The test treats the trained policies as fixed. With several training seeds, the interval, which includes
    the spread between seeds, must also exclude 0.
    """
    if row.get("p_adjusted") is None or row["p_adjusted"] >= LEVEL or row["difference"] * sign <= 0:
        return False
    return row["shared_seeds"] < 2 or row["difference_ci_low"] > 0 or row["difference_ci_high"] < 0


def hinges_on_seeds(row: Row) -> bool:
    """Whether the test is significant but the interval over training seeds includes 0."""
    tested = row.get("p_adjusted") is not None and row["p_adjusted"] < LEVEL
    return tested and not significant(row, +1) and not significant(row, -1)


def score_rows(rows: Sequence[Row], variant: str, benchmark: str) -> list[Row]:
    """The rows of one variant on one benchmark that have a difference in the benchmark's score."""
    metric = score_metric(benchmark)
    return [
        row
        for row in rows
        if (row["variant"], row["benchmark"], row["metric"]) == (variant, benchmark, metric)
        and row.get("difference") is not None
    ]


def step_sentence(steps: Mapping[str, Any] | None, variants: Sequence[str]) -> str:
    """The VLA training steps of the variants, equal or not; empty if they are unknown."""
    if not steps or any(variant not in steps for variant in variants):
        return ""
    printed_steps = {variant: names.steps(steps[variant]) for variant in variants}
    if len(set(printed_steps.values())) == 1:
        return f"Every policy had {printed_steps[variants[0]]} VLA training steps."
    listed = names.joined([f"{names.variant(variant)} {printed_steps[variant]}" for variant in variants])
    return f"VLA training steps differ: {listed}."
