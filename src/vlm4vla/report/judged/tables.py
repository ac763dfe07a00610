"""The judgement of a published table as a table: its numbers, its comparisons, and what is impossible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vlm4vla.analysis.printed_rates import SEARCHED
from vlm4vla.report import marks, names
from vlm4vla.report.judged.table_file import MEAN_LENGTH, SCORE, PrintedNumber, PrintedTable
from vlm4vla.report.judged.verdicts import (
    NO_DISTRIBUTION,
    NOT_DECIDABLE,
    JudgedComparison,
    impossible,
    interval,
)
from vlm4vla.report.published_study.comparisons import DOES_NOT_SURVIVE, SURVIVES, UNDECIDED
from vlm4vla.report.published_study.flags import Misfit
from vlm4vla.report.published_study.tables import printed_p
from vlm4vla.report.rows.table import GAP, Block, Table

COLUMNS = (
    "kind",
    "row",
    "column",
    "unit",
    "value",
    "printed",
    "trials",
    "seeds",
    "ci_low",
    "ci_high",
    "compared_with",
    "compared_value",
    "test",
    "p_value",
    "p_least",
    "p_adjusted",
    "p_adjusted_least",
    "verdict",
    "trials_to_survive",
    "reason",
    "would_fit",
)
NUMBER, COMPARISON = "number", "comparison"
LISTED = 120  # up to this number, every comparison is printed; above, those that survive or are not decided
STEPS = (100, 500, 1000, 5000)  # trials of each policy for which the verdicts count the survivors


def judged_table(table: PrintedTable, comparisons: Sequence[JudgedComparison]) -> Table:
    """The table of the judgement. Its CSV has a row for each number and for each comparison."""
    flags = {n: found for n in table.numbers if (found := impossible(n)) is not None}
    blocks = [_scores(table, flags)]
    every = len(comparisons) <= LISTED
    shown = [each for each in comparisons if every or each.verdict in (SURVIVES, UNDECIDED)]
    for column in table.columns:
        own = [each for each in shown if each.first.column == column]
        blocks += [_comparisons(f"Comparisons: {column}", own)] if own else []
    if flags:
        blocks.append(_flagged(flags))
    return Table(
        name=f"judged_{table.name}",
        title=table.headings.get("title", table.name),
        caption=_caption(table, comparisons, flags),
        records=[*(_number(n, flags) for n in table.numbers), *map(_comparison, comparisons)],
        blocks=blocks,
        verdicts=sentences(table, comparisons),
        gaps=[],
        tidy=COLUMNS,
    )


def sentences(table: PrintedTable, comparisons: Sequence[JudgedComparison]) -> list[str]:
    """What the printed numbers decide: about these trained policies, not about the methods."""
    count = Counter(each.verdict for each in comparisons)
    total = len(comparisons)
    if not total:
        found = ["No row can be compared with another one."]
    elif count[NOT_DECIDABLE] == total:
        none = "The one difference cannot" if total == 1 else f"None of the {total} differences can"
        found = [f"{none} be tested."]
    else:
        found = [
            f"{count[SURVIVES]} of {total} differences between these trained policies "
            f"{'survives' if count[SURVIVES] == 1 else 'survive'}."
        ]
    if count[DOES_NOT_SURVIVE]:
        number, verb = count[DOES_NOT_SURVIVE], "does" if count[DOES_NOT_SURVIVE] == 1 else "do"
        they = "it is" if number == 1 else "they are"
        found.append(f"{number} {verb} not survive. This does not show that {they} zero.")
    if count[UNDECIDED]:
        found.append(f"The published numbers do not decide {count[UNDECIDED]}.")
    reasons = Counter(each.reason for each in comparisons if each.verdict == NOT_DECIDABLE)
    found += [f"{number} cannot be decided, because {reason}." for reason, number in reasons.items()]
    known = [each for each in comparisons if each.difference is not None and each.reason != NO_DISTRIBUTION]
    if known and count[SURVIVES] < total:
        needed = [each.needed for each in known if each.needed is not None]
        counts = [sum(n <= trials for n in needed) for trials in STEPS]
        steps = [f"{count} with {trials:,}" for count, trials in zip(counts[1:], STEPS[1:], strict=True)]
        found.append(
            f"Of {_printed_sizes(len(known))}, {counts[0]} would survive with {STEPS[0]} trials of each "
            f"policy, {names.joined(steps)}."
        )
    checked = [n for n in table.numbers if n.trials is not None and n.unit != SCORE]
    if checked:
        wrong = [flag for number in checked if (flag := impossible(number)) is not None]
        other = sum(flag.same_trials for flag in wrong)
        found.append(
            f"{len(wrong) - other} of {len(checked)} numbers with stated trials cannot come from these "
            "trials."
        )
        if other:
            found.append(
                f"A further {other} can come from them only if decimals were cut off, or if rounded numbers "
                "were averaged."
            )
    unchecked = len(table.numbers) - len(checked)
    if unchecked:
        found.append(f"{unchecked} of {len(table.numbers)} numbers cannot be checked against trials.")
    return found


def _printed_sizes(count: int) -> str:
    return "1 difference of the printed size" if count == 1 else f"{count} differences of the printed sizes"


def _tests(count: int) -> str:
    """The comparisons that Holm's correction covers."""
    if not count:
        return "comparisons with a test, of which this table has none"
    return f"{count} {'comparison' if count == 1 else 'comparisons'} with a test"


def _caption(
    table: PrintedTable, comparisons: Sequence[JudgedComparison], flags: dict[PrintedNumber, Misfit]
) -> str:
    source = [
        f"{key.capitalize()}: {table.headings[key]}." for key in ("source", "date") if key in table.headings
    ]
    seeds = {number.seeds for number in table.numbers}
    lengths = any(number.unit == MEAN_LENGTH for number in table.numbers)
    several = [number for number in seeds if number is not None and number > 1]
    tested = sum(each.p_value is not None for each in comparisons)
    survivors = any(each.verdict == SURVIVES for each in comparisons)
    parts = [
        *source,
        table.headings.get("note", ""),
        f"Tests are unpaired and two-sided, with Holm's correction over the {_tests(tested)} "
        "(5 % level; success: Boschloo's test, above 1,000 trials Fisher's"
        + (
            "; mean length: the same test of chains of which each is solved entirely or not at all, "
            "which have the largest variance"
            if lengths
            else ""
        )
        + ").",
        "Tests use the count that rounds to the printed number and supports a difference least.",
        "In brackets: 95 % intervals." if any(interval(number) for number in table.numbers) else "",
        "Trials to survive: trials of each policy at which a difference of exactly this size survives, "
        "whatever the other comparisons give"
        + (", for any spread of the lengths" if lengths else "")
        + (" (for one that survives here, at most the stated trials)" if survivors else "")
        + f"; above {SEARCHED}, from the normal approximation; a new evaluation with so many finds it about "
        "half of the time.",
        "With several seeds, the largest p and the intervals assume that the seeds share initial states."
        if several
        else "",
        "Where the source states no number of training seeds, the stated trials are taken to be all rollouts."
        if None in seeds
        else "",
        "Nothing here covers the variance between training runs, so no sentence is about methods.",
        "The CSV file has every comparison." if len(comparisons) > LISTED else "",
        f"{marks.FLAGGED} No whole number of the stated trials, each with the same weight, rounds to it."
        if flags
        else "",
    ]
    return " ".join(part for part in parts if part)


def _number(number: PrintedNumber, flags: dict[PrintedNumber, Misfit]) -> dict[str, Any]:
    low, high = interval(number) or (None, None)
    flag = flags.get(number)
    return {
        "kind": NUMBER,
        "row": number.row,
        "column": number.column,
        "unit": number.unit,
        "value": number.value,
        "printed": number.text,
        "trials": number.trials,
        "seeds": number.seeds,
        "ci_low": low,
        "ci_high": high,
        "reason": flag and flag.reason,
        "would_fit": flag and ("; ".join(flag.fits) or None),
    }


def _comparison(each: JudgedComparison) -> dict[str, Any]:
    second = each.second
    return {
        "kind": COMPARISON,
        "row": each.first.row,
        "column": each.first.column,
        "unit": each.first.unit,
        "value": each.difference,
        "trials": each.first.trials,
        "seeds": each.first.seeds,
        "ci_low": each.ci_low,
        "ci_high": each.ci_high,
        "compared_with": each.first.baseline if second is None else second.row,
        "compared_value": None if second is None else second.value,
        "test": each.test,
        "p_value": each.p_value,
        "p_least": each.p_least,
        "p_adjusted": each.adjusted,
        "p_adjusted_least": each.adjusted_least,
        "verdict": each.verdict,
        "trials_to_survive": each.needed,
        "reason": each.reason or None,
    }


def _scores(table: PrintedTable, flags: dict[PrintedNumber, Misfit]) -> Block:
    cells = {(number.row, number.column): number for number in table.numbers}
    units = {number.column: number.unit for number in table.numbers}
    grid = []
    for row in table.rows:
        line = [row]
        for column in table.columns:
            number = cells.get((row, column))
            line.append(GAP if number is None else _printed(number) + marks.FLAGGED * (number in flags))
        grid.append(line)
    return Block("Numbers", ["row", *(f"{column}, {units[column]}" for column in table.columns)], grid)


def _printed(number: PrintedNumber) -> str:
    found = interval(number)
    return (
        number.text if found is None else f"{number.text} [{', '.join(_in_unit(number, x) for x in found)}]"
    )


def _in_unit(number: PrintedNumber, value: float, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if number.is_rate:
        return f"{100 * value:{sign}.1f}" if number.unit == "percent" else f"{value:{sign}.3f}"
    return f"{value:{sign}.2f}" if number.unit == MEAN_LENGTH else f"{value:{sign}g}"


def _comparisons(title: str, comparisons: Sequence[JudgedComparison]) -> Block:
    grid = []
    for each in comparisons:
        first = each.first
        difference = GAP
        if each.difference is not None:
            difference = _in_unit(first, each.difference, signed=True)
        if each.ci_low is not None:
            limits = (_in_unit(first, limit, signed=True) for limit in (each.ci_low, each.ci_high))
            difference += f" [{', '.join(limits)}]"
        tested = each.adjusted is not None
        grid.append(
            [
                f"{first.row} minus {first.baseline if each.second is None else each.second.row}",
                difference,
                printed_p(each.adjusted, each.adjusted_least) if tested else GAP,
                f"{each.verdict}: {each.reason}" if each.reason else each.verdict,
                GAP if each.needed is None else f"{each.needed:,}",
            ]
        )
    header = ["comparison", "difference", "p after Holm", "verdict", "trials to survive"]
    return Block(title, header, grid)


def _flagged(flags: dict[PrintedNumber, Misfit]) -> Block:
    grid = [
        [f"{number.row}, {number.column}", number.text, flag.reason, "; ".join(flag.fits) or GAP]
        for number, flag in flags.items()
    ]
    return Block(
        "Not a rounded count of the stated trials", ["number", "printed", "problem", "what would fit"], grid
    )
