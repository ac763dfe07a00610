"""Paired differences between policies on the same initial states: rows, adjusted tests, printed cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from vlm4vla.analysis.multiplicity import FALSE_DISCOVERY, HOLM, benjamini_hochberg, holm
from vlm4vla.analysis.paired import Comparison, compare
from vlm4vla.analysis.records import cell_records
from vlm4vla.analysis.seed_spread import SeedSpread
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.report import marks, names
from vlm4vla.report.rows.cells import FLOOR, Cell, Row, seed_spreads
from vlm4vla.report.rows.decisions import (
    AT_FLOOR,
    EQUIVALENT,
    HIGHER,
    LEVEL,
    LOWER,
    NOT_LEARNT,
    NOT_MEASURED,
    decide,
    equivalence_words,
    is_tested,
    left_out_sentence,
    outcome,
)
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
    "outcome",
)
NONE = "none"  # no auxiliary task
_PRINTED = {AT_FLOOR: "at the floor", NOT_LEARNT: "task not learnt", NOT_MEASURED: "own score unknown"}
Test = tuple[Row, Comparison]
Sides = Callable[[Row], tuple[pd.DataFrame, pd.DataFrame]]
"""The records of the two policies of a row with a difference: the first minus the second."""
Key = tuple[Cell, int | None]  # a row's cell, and its executed steps in the table that compares them


def variant_sides(records: pd.DataFrame, reference: str, *, reference_first: bool = False) -> Sides:
    """The row's policy, and the same policy with the variant `reference`, or the other way round."""

    def sides(row: Row) -> tuple[pd.DataFrame, pd.DataFrame]:
        own, other = _run(records, row), _run(records, row | {"variant": reference})
        return (other, own) if reference_first else (own, other)

    return sides


def auxiliary_sides(records: pd.DataFrame) -> Sides:
    """The row's policy, and the same policy without an auxiliary task."""
    return lambda row: (_run(records, row), _run(records, row | {"auxiliary": NONE}))


def add_contrasts(
    rows: Sequence[Row],
    records: pd.DataFrame,
    reference: str,
    margin: float,
    *,
    reference_first: bool = False,
) -> None:
    """Add to each row its paired difference to the variant `reference` of the same backbone (in place).

    The difference is the row's variant minus the reference, or with `reference_first` the reference minus the
    row's variant. Rows of the reference itself get nothing. `margin`: see `decisions.decide`. With several
    training seeds, the spread of the seeds is pooled over all policies of `rows` on a benchmark.
    """
    sides = variant_sides(records, reference, reference_first=reference_first)
    compared = [row for row in rows if row["variant"] != reference]
    tests = _compared(compared, sides, _seed_spreads(rows, records), reference)
    _decide(tests, _at_floor(tests, sides, records), margin)


def add_auxiliary_contrasts(
    rows: Sequence[Row],
    records: pd.DataFrame,
    margin: float,
    not_learnt: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Add to each row of a fine-tuned backbone its paired difference to the same variant of the same backbone
    without an auxiliary task (in place).

    `margin`: see `decisions.decide`. `not_learnt`: NOT_LEARNT or NOT_MEASURED for each (backbone, auxiliary
    task) whose own score is not known to have risen. Their rows are not tested. The spread of training seeds
    is pooled as in `add_contrasts`.
    """
    sides = auxiliary_sides(records)
    compared = [row for row in rows if row["auxiliary"] != NONE]
    tests = _compared(compared, sides, _seed_spreads(rows, records), NONE)
    untested = _at_floor(tests, sides, records)
    for row, _ in tests:
        reason = (not_learnt or {}).get((row["model"], row["auxiliary"]))
        if reason is not None:
            untested[_key(row)] = reason
    _decide(tests, untested, margin)


def add_step_contrasts(
    rows: Sequence[Row],
    sides: Sides,
    spreads: Mapping[tuple[str, str], SeedSpread | None],
    floor: pd.DataFrame,
    margin: float,
) -> None:
    """Add to each row of other executed steps its paired difference to the same policy with the steps that
    the other tables use (in place).

    `rows`: the rows with other steps. `sides`: the records of both. `spreads`: see `paired.compare`, for each
    benchmark and metric. `floor`: the records of random actions. `margin`: see `decisions.decide`.
    """
    tests = _compared(rows, sides, spreads, None)
    for row, _ in tests:
        row["compared_with"] = f"{int(sides(row)[1]['execution_horizon'].iloc[0])} executed"
    _decide(tests, _at_floor(tests, sides, floor), margin)


def _compared(
    rows: Sequence[Row],
    sides: Sides,
    spreads: Mapping[tuple[str, str], SeedSpread | None],
    reference: str | None,
) -> list[Test]:
    """Add to each row the comparison of its sides (in place); the rows that have one, with it."""
    return [
        test
        for row in rows
        for test in _add(row, compare(*sides(row), row["metric"], spreads.get(_score(row))), reference)
    ]


def _seed_spreads(rows: Sequence[Row], records: pd.DataFrame) -> dict[tuple[str, str], SeedSpread | None]:
    """For each benchmark and metric, the spread of the training seeds over the policies of `rows`."""
    metrics: dict[str, dict[str, None]] = {}
    for row in rows:
        metrics.setdefault(row["benchmark"], {})[row["metric"]] = None
    return seed_spreads(
        records, [_cell(row) for row in rows], {name: list(own) for name, own in metrics.items()}
    )


def _score(row: Row) -> tuple[str, str]:
    return row["benchmark"], row["metric"]


def _at_floor(tests: Sequence[Test], sides: Sides, records: pd.DataFrame) -> dict[Key, str]:
    """AT_FLOOR for each policy that, together with its reference, is not above random actions.

    `records`: with those of random actions.

    The mean of the two policies at each state is compared with random actions by the benchmark's score, with
    Holm's correction. Which of the two is better does not change this mean. So the choice of the rows leaves
    the tests of their differences valid, which a test of each policy on its own would not.
    """
    found: dict[Key, Comparison] = {}
    for row, _ in tests:
        metric = score_metric(row["benchmark"])
        floor = cell_records(records, FLOOR, "full", row["benchmark"])
        if row["metric"] != metric or floor.empty:
            continue
        pair = sides(row)
        shared = set(pair[0]["seed"]) & set(pair[1]["seed"])
        most = max(int(side["seed"].max()) for side in (*pair, floor)) + 1
        # Seeds of their own keep both policies' rollouts apart, and apart from those of random actions.
        together = pd.concat(
            [
                side[side["seed"].isin(shared)].assign(seed=side["seed"] + most * number)
                for number, side in enumerate(pair, 1)
            ]
        )
        test = compare(together, floor, metric) if shared else None
        if test is not None:
            found[_key(row)] = test
    adjusted = holm([test.p_value for test in found.values()])
    return {
        key: AT_FLOOR
        for (key, test), p in zip(found.items(), adjusted, strict=True)
        if not (test.difference > 0 and p is not None and p < LEVEL)
    }


def _cell(row: Row) -> Cell:
    return Cell(*(row[key] for key in Cell._fields))


def _key(row: Row) -> Key:
    return _cell(row), row.get("executed")


def _decide(tests: Sequence[Test], untested: Mapping[Key, str], margin: float) -> None:
    """Add adjusted p values, the outcome, and the states that a test at the level of Holm's first step needs
    (in place).

    Holm's correction covers the tests of the benchmarks' scores, on which the table's sentences are based.
    The correction of Benjamini and Hochberg covers the tests of the other metrics. Their p is at least that
    of the score of the same policies: they say more about a difference of the score, and alone show none. So
    a table of equal policies has a false outcome as rarely as its scores. Rows of the `untested` cells get
    the reason as their outcome and have no p value.
    """
    of_score: dict[Key, tuple[float, float]] = {}  # Holm's p and that over the states alone
    for row, _ in tests:
        if _key(row) in untested:
            row |= {"outcome": untested[_key(row)], "p_value": None, "test": None}
    for adjust, name, main in ((holm, HOLM, True), (benjamini_hochberg, FALSE_DISCOVERY, False)):
        chosen = [
            (row, test)
            for row, test in tests
            if (row["metric"] == score_metric(row["benchmark"])) == main and _key(row) not in untested
        ]
        adjusted = adjust([test.p_value for _, test in chosen])
        states_only = adjust([test.states_p_value for _, test in chosen])
        for (row, test), p, states_p in zip(chosen, adjusted, states_only, strict=True):
            if main:
                of_score[_key(row)] = p, states_p
            else:
                least = of_score.get(_key(row), (0.0, 0.0))
                p, states_p = max(p, least[0]), max(states_p, least[1])
            row |= {"p_adjusted": p, "adjustment": name}
            row |= {"needed": test.needed(LEVEL / len(chosen), decided=p < LEVEL)}
            row |= {"outcome": decide(row, margin), "hinges_on_seeds": p >= LEVEL > states_p}


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
    """`McNemar p = 0.012`, or why the row is not tested."""
    if row.get("outcome") in _PRINTED:
        return f"not tested: {_PRINTED[row['outcome']]}"
    return GAP if row.get("p_value") is None else f"{row['test']} {names.p_value(row['p_value'])}"


def printed_adjusted(row: Row) -> str:
    """`0.012 *`, `0.43 =` for an equivalent pair, `0.43 (n 912)` for an undecided one, or `0.001 (seeds)`.

    `adjustment_sentence` explains the marks.
    """
    if row.get("p_adjusted") is None:
        return GAP
    p = names.p_number(row["p_adjusted"])
    if outcome(row) in (HIGHER, LOWER):
        return f"{p} {marks.SIGNIFICANT}"
    if outcome(row) == EQUIVALENT:
        return f"{p} {marks.EQUIVALENT}"
    if hinges_on_seeds(row):
        return f"{p} (seeds)"
    return f"{p} (n {printed_needed(row['needed'])})"


def printed_needed(needed: int | None) -> str:
    """The initial states that an undecided pair needs; a dash if no number of states would be enough."""
    return GAP if needed is None else str(needed)


def adjustment_sentence(rows: Sequence[Row], margin: float) -> str:
    """The number of tests, what the marks and n next to an adjusted p mean, and which rows are not tested;
    empty without differences."""
    left_out = left_out_sentence(
        [row for row in rows if row["metric"] == score_metric(row["benchmark"])],
    )
    tests = [row for row in rows if row.get("adjustment") == HOLM]
    if not tests:
        return left_out
    sentence = (
        f"{marks.SIGNIFICANT}: the difference is significant at the 5 % level after Holm's correction for "
        f"the table's {len(tests)} {'test' if len(tests) == 1 else 'tests'}"
    )
    if any(row["shared_seeds"] > 1 for row in tests):
        sentence += ". The p value of two or more shared training seeds covers seeds and initial states"
    sentence += f". {marks.EQUIVALENT}: equivalent, the 95 % interval lies within {equivalence_words(margin)}"
    sentence += (
        ". Otherwise, (n) is the number of paired initial states that the same test, at the level of Holm's "
        "first step and with at least one state more, would need for 80 % power if the measured difference "
        f"were the true one ({GAP}: more than a million, or no difference)"
    )
    if any(hinges_on_seeds(row) for row in tests):
        sentence += (
            "; (seeds) means that these trained policies differ, but not beyond what other training seeds "
            "may change: more seeds are needed, not more initial states"
        )
    return f"{sentence}. {left_out}".strip()


def significant(row: Row, sign: int) -> bool:
    """Whether the row's difference has `sign` and is significant at 5 % after correction."""
    return is_tested(row) and outcome(row) == (HIGHER if sign > 0 else LOWER)


def hinges_on_seeds(row: Row) -> bool:
    """Whether these trained policies differ, but not beyond what other training seeds may change."""
    return is_tested(row) and bool(row.get("hinges_on_seeds"))


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
