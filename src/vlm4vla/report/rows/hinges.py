"""Differences that lie in one task, one training seed or one backbone alone: records and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from vlm4vla.analysis.hinges import (
    BACKBONE,
    TASK,
    TRAINING_SEED,
    Hinge,
    Outcomes,
    row_hinge,
    task_hinge,
)
from vlm4vla.analysis.paired import sign_flip
from vlm4vla.analysis.records import cell_records
from vlm4vla.conventions.benchmarks import maximum, score_metric
from vlm4vla.report import names
from vlm4vla.report.rows.cells import Cell, Row
from vlm4vla.report.rows.contrasts import Sides, printed_difference
from vlm4vla.report.rows.decisions import HIGHER, LEVEL, LOWER, is_tested, outcome


@dataclass(frozen=True)
class Hinges:
    """The `sentences` of a table, and one of `records` per hinge for its JSON."""

    sentences: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


def examine(rows: Sequence[Row], sides: Sides, margin: float, scale: str) -> Hinges:
    """The hinges of the tested differences in `rows`, and of their means over backbones.

    `sides`: the records of the two cells of a row, the first minus the second. `margin`: a share of the
    benchmark's maximum. A decided difference is examined for tasks and training seeds. A difference that
    these trained policies show, but not beyond other training seeds, is examined for seeds. Rows of several
    backbones that are alike otherwise are examined together, for backbones.
    """
    tested = [row for row in rows if is_tested(row) and row["metric"] == score_metric(row["benchmark"])]
    found = Hinges()
    groups: dict[tuple, list[tuple[Row, np.ndarray]]] = {}
    for row in tested:
        first, second = (Outcomes.of(side, row["metric"]) for side in sides(row))
        differences, seeds, tasks = first.minus(second)
        if differences.size == 0:
            continue
        key = (row["variant"], row["benchmark"], row.get("auxiliary"), row.get("executed"))
        groups.setdefault(key, []).append((row, differences.sum(axis=0)))
        decided = outcome(row, margin) in (HIGHER, LOWER)
        for hinge in find(differences, seeds, tasks, row, decided, len(tested)):
            found.records.append(_key(row) | vars(hinge))
            subject = f"{row_label(row, scale)}: the difference ({printed_difference(row)})"
            if not decided:
                subject += " is not shown beyond these training seeds, and it"
            found.sentences.append(f"{subject} {words(hinge, row, margin)}.")
    _add_backbones(found, [group for group in groups.values() if len(group) > 1], margin, scale)
    return found


def examine_pairs(
    records: pd.DataFrame,
    tests: Sequence[Mapping[str, Any]],
    labels: Mapping[tuple[str, str], str],
    scale: str,
) -> Hinges:
    """The hinges of the pairs of policies on one benchmark, which `pairs.pair_tests` has tested.

    `labels`: the name of each (model, variant). There is one sentence for each task or training seed.
    """
    found = Hinges()
    outcomes: dict[tuple[str, str], Outcomes] = {}
    named: dict[tuple[str, str], list[str]] = {}
    decided = sum(test["decided"] for test in tests)
    for test in tests:
        if not (test["decided"] or test["hinges_on_seeds"]):
            continue
        pair = (test["first"], test["first_variant"]), (test["second"], test["second_variant"])
        for policy in pair:
            if policy not in outcomes:
                own = cell_records(records, *policy, test["benchmark"])
                outcomes[policy] = Outcomes.of(own, test["metric"])
        differences, seeds, tasks = outcomes[pair[0]].minus(outcomes[pair[1]])
        if differences.size == 0:
            continue
        keys = ("first", "first_variant", "second", "second_variant", "benchmark", "metric")
        for hinge in find(differences, seeds, tasks, test, test["decided"], len(tests)):
            found.records.append({key: test[key] for key in keys} | vars(hinge))
            pair_label = f"{labels[pair[0]]} minus {labels[pair[1]]} {sizes_words(hinge, test)}"
            named.setdefault((hinge.kind, hinge.name), []).append(pair_label)
    for (kind, name), listed in named.items():
        where = f"task, {name}" if kind == TASK else f"training seed, seed {name}"
        found.sentences.append(
            f"{names.benchmark(tests[0]['benchmark'], scale)}: {len(listed)} of the differences between "
            f"backbones ({decided} of {len(tests)} pairs differ) {'is' if len(listed) == 1 else 'are'} seen "
            f"in one {where}, alone: {'; '.join(listed)}."
        )
    return found


def find(
    differences: np.ndarray,
    seeds: Sequence[int],
    tasks: Sequence[str],
    row: Mapping[str, Any],
    decided: bool,
    tests: int,
) -> list[Hinge]:
    """The hinges of one comparison. `differences` (seeds, states), `tasks` (states,).

    `row` has the benchmark and the metric. A difference that is not `decided` is examined for seeds if these
    trained policies show it at the 5 % level divided by the table's number of `tests`.
    """
    most = maximum(row["benchmark"], row["metric"])
    found = [task_hinge(differences, tasks, most)] if decided else []
    if len(seeds) > 1 and (decided or sign_flip(differences.sum(axis=0)) < LEVEL / tests):
        found.append(row_hinge(differences, seeds, most, TRAINING_SEED))
    return [hinge for hinge in found if hinge is not None]


def _add_backbones(
    found: Hinges, groups: Sequence[Sequence[tuple[Row, np.ndarray]]], margin: float, scale: str
) -> None:
    """Examine the mean difference over the backbones of each group (in place)."""
    for group in groups:
        rows, by_state = [row for row, _ in group], [differences for _, differences in group]
        seeds = {row.get("shared_seeds") for row in rows}
        if len(seeds) > 1 or len({len(differences) for differences in by_state}) > 1:
            continue  # sums over different seeds or states cannot be averaged
        whole = np.stack(by_state)
        if sign_flip(whole.sum(axis=0)) >= LEVEL / len(groups):
            continue
        row, count = rows[0], max(1, seeds.pop() or 1)
        most = count * maximum(row["benchmark"], row["metric"])
        hinge = row_hinge(whole, [each["model"] for each in rows], most, BACKBONE)
        if hinge is None:
            continue
        sizes = ("difference", "rest", "rest_low", "rest_high")
        hinge = Hinge(**vars(hinge) | {key: getattr(hinge, key) / count for key in sizes})
        found.records.append(_key(row) | {"model": "all"} | vars(hinge))
        mean = names.number(row["metric"], float(whole.mean()) / count, signed=True)
        label = row_label(row, scale).removeprefix(f"{names.model(row['model'])}").strip()
        found.sentences.append(
            f"{label[:1].upper()}{label[1:]}: the mean difference over {len(rows)} backbones ({mean}) "
            f"{words(hinge, row, margin)}."
        )


def words(hinge: Hinge, row: Mapping[str, Any], margin: float) -> str:
    """A predicate: `is seen in one task alone, TASK (+80.0; in the other 3 together +0.4 [-5.0, +5.8])`.

    It is `lies in` instead of `is seen in` if the interval of the other parts lies within the margin.
    """
    size = margin * maximum(row["benchmark"], row["metric"])
    verb = "lies in" if hinge.absent_elsewhere(size) else "is seen in"
    part, name = {
        TASK: ("task", hinge.name),
        TRAINING_SEED: ("training seed", f"seed {hinge.name}"),
        BACKBONE: ("backbone", names.model(hinge.name)),
    }[hinge.kind]
    return f"{verb} one {part} alone, {name} {sizes_words(hinge, row)}"


def sizes_words(hinge: Hinge, row: Mapping[str, Any]) -> str:
    """`(+80.0; in the other 3 together +0.4 [-5.0, +5.8])`, with rates in percentage points."""
    value, rest, low, high = (
        names.number(row["metric"], number, signed=True)
        for number in (hinge.difference, hinge.rest, hinge.rest_low, hinge.rest_high)
    )
    others = "the other one" if hinge.parts == 2 else f"the other {hinge.parts - 1} together"
    return f"({value}; in {others} {rest} [{low}, {high}])"


def row_label(row: Row, scale: str) -> str:
    """The policy of a row, its benchmark, and the number of executed steps if the table has several."""
    label = Cell(row["model"], row["variant"], row["benchmark"], row.get("auxiliary") or "none").label(scale)
    return label + (f", {row['executed']} steps executed" if "executed" in row else "")


def _key(row: Row) -> dict[str, Any]:
    keys = (*Cell._fields, "metric", "executed")
    return {key: row[key] for key in keys if key in row}
