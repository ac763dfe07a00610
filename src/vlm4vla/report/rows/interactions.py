"""Effects that a table's sentences compare with each other: one test for each, with Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm4vla.analysis.interactions import Effect, compare_effects
from vlm4vla.analysis.multiplicity import HOLM, holm
from vlm4vla.analysis.seed_spread import SeedSpread
from vlm4vla.report import names
from vlm4vla.report.rows.cells import Cell, Row
from vlm4vla.report.rows.decisions import HIGHER, LEVEL, LOWER, UNDECIDED, decide, is_tested, outcome

DECIDED = (HIGHER, LOWER)


@dataclass(frozen=True)
class Pair:
    """Two rows with differences on the same benchmark, and the records behind them.

    `spread`: how far apart the training seeds of the table's policies are.
    """

    row: Row
    effect: Effect
    other_row: Row
    other_effect: Effect
    spread: SeedSpread | None = None


def interaction_records(pairs: Sequence[Pair], margin: float) -> list[dict[str, Any]]:
    """A record for each pair: the first row's difference minus the second row's, with its test and outcome.

    Holm's correction covers all pairs of the table, apart from the tests of its rows. Two effects are only
    said to differ if one of them is decided by itself. So a table of equal policies gets no more false words
    from its pairs than from its rows. A pair with a row that is not tested has no record.

    `margin`: see `decisions.decide`. The records have the keys of the first row's cell, and those of the
    second row's cell with the prefix `other_`.
    """
    found = []
    for pair in pairs:
        if not (is_tested(pair.row) and is_tested(pair.other_row)):
            continue
        test = compare_effects(pair.effect, pair.other_effect, pair.row["metric"], pair.spread)
        if test is not None:
            record = {
                **{key: pair.row[key] for key in Cell._fields},
                **{f"other_{key}": pair.other_row[key] for key in Cell._fields},
                "metric": pair.row["metric"],
                "difference": test.difference,
                "difference_ci_low": test.ci_low,
                "difference_ci_high": test.ci_high,
                "p_value": test.p_value,
                "test": test.test,
                "states": test.states,
                "wins": test.wins,
                "losses": test.losses,
                "shared_seeds": test.seeds,
            }
            found.append((pair, record))
    adjusted = holm([record["p_value"] for _, record in found])
    for (pair, record), p in zip(found, adjusted, strict=True):
        record |= {"p_adjusted": p, "adjustment": HOLM}
        record["outcome"] = decide(record, margin)
        if record["outcome"] in DECIDED and not {outcome(pair.row), outcome(pair.other_row)} & set(DECIDED):
            record["outcome"] = UNDECIDED
    return [record for _, record in found]


def printed_interaction(record: Row) -> str:
    """`+30.2 [+18.0, +42.4], McNemar, Holm p = 0.001`, with rates in percentage points."""
    keys = ("difference", "difference_ci_low", "difference_ci_high")
    value, low, high = (names.number(record["metric"], record[key], signed=True) for key in keys)
    text = f"{value} [{low}, {high}], {record['test']}, Holm {names.p_value(record['p_adjusted'])}"
    if "other_model" in record and record["outcome"] == UNDECIDED and record["p_adjusted"] < LEVEL:
        text += ", but neither effect is decided by itself"
    return text
