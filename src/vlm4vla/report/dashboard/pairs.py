"""The comparisons of the dashboard as JSON values. The page's script shows them and computes nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from vlm4vla.analysis.estimates import Estimate
from vlm4vla.conventions.benchmarks import score_metric
from vlm4vla.core.errors import UserError, one_line
from vlm4vla.report import names
from vlm4vla.report.comparison.stage import LEVEL, about, remarks
from vlm4vla.report.comparison.studies import NOT_TESTED, Difference, compare_records
from vlm4vla.report.dashboard.entries import Score, StudyEntry
from vlm4vla.report.rows.cells import CEILING, FLOOR, Cell
from vlm4vla.report.rows.contrasts import NONE

HIGHER, LOWER, SAME, UNTESTED = "higher", "lower", "not told apart", "not tested"


def verdict(each: Difference) -> str:
    """Whether the second study is told apart from the first one, at the level of `vlm4vla compare`."""
    if each.test == NOT_TESTED:
        return UNTESTED
    if each.adjusted >= LEVEL:
        return SAME
    return HIGHER if each.difference > 0 else LOWER


def printed(metric: str, value: float, low: float, high: float, signed: bool = False) -> str:
    """`46.9 [37.2, 56.8]`, as `vlm4vla compare` prints it."""
    value, low, high = (names.number(metric, number, signed) for number in (value, low, high))
    return f"{value} [{low}, {high}]"


def score_text(cell: Cell, score: Score) -> str:
    """The score of `cell` with its interval."""
    return printed(score_metric(cell.benchmark), score.value, score.ci_low, score.ci_high)


def all_cells(entries: Sequence[StudyEntry]) -> list[Cell]:
    """The cells of all studies: by benchmark, then by name, in the order of the tables.

    Random actions and the scripted expert come last, and policies with all modules trained come first.
    """
    cells = {cell for entry in entries for cell in entry.scores}
    order = {name: rank for rank, name in enumerate(names.in_order(sorted({c.benchmark for c in cells})))}
    variants, last = list(names.VARIANTS), [FLOOR, CEILING]

    def place(cell: Cell) -> tuple[int | str, ...]:
        end = last.index(cell.model) + 1 if cell.model in last else 0
        variant = variants.index(cell.variant) if cell.variant in variants else len(variants)
        return (
            order[cell.benchmark],
            end,
            cell.model,
            cell.auxiliary != NONE,
            cell.auxiliary,
            variant,
            cell.variant,
        )

    return sorted(cells, key=place)


def chosen(entries: Sequence[StudyEntry], most: int) -> list[int]:
    """The places of the studies to compare: the `most` newest ones with scores, in the order of the list."""
    places = [place for place, entry in enumerate(entries) if entry.scores]
    newest = sorted(places, key=lambda place: (entries[place].started, -place), reverse=True)
    return sorted(newest[:most])


def comparison_data(entries: Sequence[StudyEntry], places: Sequence[int]) -> dict[str, Any]:
    """What the page's script shows.

    `cells`: the names of each cell. `studies`: by place, the scores by cell number, [text, value]. `pairs`:
    for each ordered pair `A-B` of places, the words about the pair, and by cell number the values of
    `_row`. Both orders are there, because each is what `vlm4vla compare A B` prints.
    """
    cells = all_cells([entries[place] for place in places])
    numbers = {cell: number for number, cell in enumerate(cells)}
    return {
        "cells": [_names(cell) for cell in cells],
        "studies": {
            str(place): {
                "label": entries[place].label,
                "scores": {
                    str(numbers[cell]): [score_text(cell, score), score.value]
                    for cell, score in entries[place].scores.items()
                },
            }
            for place in places
        },
        "pairs": _pairs(entries, places, numbers),
    }


def _pairs(
    entries: Sequence[StudyEntry], places: Sequence[int], numbers: Mapping[Cell, int]
) -> dict[str, Any]:
    found = {}
    for count, first in enumerate(places):
        if len(places) > 2:
            print(f"comparing {entries[first].label} ({count + 1} of {len(places)})", file=sys.stderr)
        for second in places:
            if first != second:
                found[f"{first}-{second}"] = _pair(entries[first], entries[second], numbers)
    return found


def _pair(first: StudyEntry, second: StudyEntry, numbers: Mapping[Cell, int]) -> dict[str, Any]:
    """`about`: sentences on the pair. `rows`: by cell number."""
    without = [entry.label for entry in (first, second) if entry.records is None]
    if without:
        reason = f"{' and '.join(without)}: no episode records, so differences cannot be tested"
        return {"about": f"{reason}.", "rows": {}}
    if set(first.records.cells).isdisjoint(second.records.cells):
        return {"about": f"{second.label} and {first.label} share no cell.", "rows": {}}
    try:
        differences = compare_records(first.records, second.records).differences
    except Exception as error:  # records of strangers: a pair that fails does not take the page with it
        reason = one_line(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        return {"about": f"{second.label} and {first.label} cannot be compared: {reason}", "rows": {}}
    told = [verdict(each) for each in differences]
    count = len(differences)
    sentence = (
        f"{second.label} minus {first.label}: {count} shared {'cell' if count == 1 else 'cells'}; higher in "
        f"{told.count(HIGHER)}, lower in {told.count(LOWER)}, not told apart in {told.count(SAME)}"
        f"{f', not tested in {told.count(UNTESTED)}' if UNTESTED in told else ''} "
        f"(5\N{NO-BREAK SPACE}% level after Holm's correction{about(differences)})."
    )
    words = " ".join([sentence, *remarks(differences)])
    words = words.replace(" in A, ", " in the baseline, ").replace(" in B)", f" in {second.label})")
    rows = {str(numbers[each.cell]): _row(each, first, second) for each in differences}
    return {"about": words, "rows": rows}


def _row(each: Difference, first: StudyEntry, second: StudyEntry) -> list[Any]:
    """[text, difference, low, high, verdict, p, p after Holm, its text, remark] of one cell."""
    scores = ((first, each.first), (second, each.second))
    parts = [f"{each.test}, not paired" if each.why_unpaired else each.test]
    parts += ["same checkpoint"] if each.same_checkpoint else []
    # After early stops, a pair counts the shared states only, and its scores differ from those of the study.
    if any(_differs(entry.scores[each.cell], score) for entry, score in scores):
        shown = (f"{entry.label} {score_text(each.cell, score)}" for entry, score in scores)
        parts.append(f"on {each.first.episodes} shared initial states: {', '.join(shown)}")
    return [
        printed(each.metric, each.difference, each.ci_low, each.ci_high, signed=True),
        each.difference,
        each.ci_low,
        each.ci_high,
        verdict(each),
        each.p_value,
        each.adjusted,
        f"{names.p_value(each.adjusted)} after Holm",
        "; ".join(parts),
    ]


def _differs(own: Score, used: Estimate) -> bool:
    return (own.value, own.ci_low, own.ci_high) != (used.value, used.ci_low, used.ci_high)


def _names(cell: Cell) -> list[str]:
    """[benchmark with its unit, backbone, auxiliary task, variant], as tables print them."""
    benchmark = f"{names.benchmark(cell.benchmark)}: {names.unit(cell.benchmark)}"
    auxiliary = "" if cell.auxiliary == "none" else names.auxiliary(cell.auxiliary)
    return [benchmark, names.model(cell.model), auxiliary, names.variant(cell.variant)]
