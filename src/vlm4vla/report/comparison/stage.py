"""`vlm4vla compare`: the comparison of two results folders as a table, in Markdown and CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.report.comparison.studies import Difference, StudyComparison, compare_studies
from vlm4vla.report.rows.cells import Cell
from vlm4vla.report.rows.table import Block, Table
from vlm4vla.study.results_folder import Results

LEVEL = 0.05
EXTRA = (
    "auxiliary",
    "first_value",
    "first_episodes",
    "first_seeds",
    "second_value",
    "second_episodes",
    "second_seeds",
    "p_value",
    "p_adjusted",
    "test",
    "why_unpaired",
    "same_checkpoint",
    "only_in",
)
SUFFIXES = (".csv", ".md")


def run(first: Path, second: Path, output: Path | None) -> None:
    """Compare two results folders and print the table in Markdown.

    With `output`, write the table to this file in Markdown and in CSV instead: one of the two files has the
    name `output`, the other has the other ending. Raises UserError for folders that cannot be compared, and
    for an `output` with another ending.
    """
    if output is not None and output.suffix not in SUFFIXES:
        raise UserError(
            f"--output {str(output)!r}: unknown ending: write a name that ends in {' or '.join(SUFFIXES)}"
        )
    if output is not None and output.is_dir():
        raise UserError(f"--output {str(output)!r}: this is a folder: write the name of a file")
    table = comparison_table(str(first), str(second), compare_studies(Results(first), Results(second)))
    if output is None:
        print(table.markdown(), end="")
        return
    table.write(output.parent, output.stem, latex=False)
    print(f"{output.with_suffix('.md')}, {output.with_suffix('.csv')}: {table.verdicts[0]}")


def comparison_table(first: str, second: str, comparison: StudyComparison) -> Table:
    """The comparison of the folders `first` (A) and `second` (B)."""
    differences = comparison.differences
    records = [_record(each) for each in differences]
    records += [cell._asdict() | {"only_in": "A"} for cell in comparison.only_first]
    records += [cell._asdict() | {"only_in": "B"} for cell in comparison.only_second]
    gaps = [f"{_label(cell)} in B" for cell in comparison.only_first]
    gaps += [f"{_label(cell)} in A" for cell in comparison.only_second]
    blocks = []
    for benchmark in dict.fromkeys(each.cell.benchmark for each in differences):
        rows = [_printed_row(each) for each in differences if each.cell.benchmark == benchmark]
        header = ["policy", "A", "B", "B minus A", "test", "p", "p after Holm"]
        title = f"{names.benchmark(benchmark)}: {names.unit(benchmark)}"
        blocks.append(Block(title, header, rows))
    return Table(
        name="comparison",
        title="Two studies, cell by cell",
        caption=(
            f"A: {first}. B: {second}. In brackets: 95 % intervals. If both studies evaluated a cell on the "
            "same initial states under the same protocol, the difference is paired by initial state "
            "(McNemar's test or a sign-flip test, with the interval of a bounded mean; with several training "
            "seeds on both sides, also a test over seeds and states, with its interval). Otherwise it is not "
            "paired (Boschloo's test and Newcombe's interval for success rates of one training seed; a "
            "permutation test with intervals of bounded means in all other cases). Tests are two-sided. "
            f"Holm's correction covers all cells that are in both folders. {_training_variance(differences)}"
        ),
        records=records,
        blocks=blocks,
        verdicts=_verdicts(differences),
        gaps=gaps,
        extra=EXTRA,
    )


def _verdicts(differences: Sequence[Difference]) -> list[str]:
    significant = [each for each in differences if each.adjusted < LEVEL]
    higher = sum(each.difference > 0 for each in significant)
    verdict = (
        f"{_cells(len(differences))} in both folders. B is significantly higher in {higher} and lower in "
        f"{len(significant) - higher} of them (5 % level after Holm's correction"
        f"{about(differences)})."
    )
    return [verdict, *remarks(differences)]


def remarks(differences: Sequence[Difference]) -> list[str]:
    """Sentences about the cells that are not paired, and about those of the same checkpoint."""
    reasons = Counter(each.why_unpaired for each in differences if each.why_unpaired)
    sentences = [f"{_cells(count)} not paired: {reason}." for reason, count in reasons.items()]
    same = sum(each.same_checkpoint for each in differences)
    if same:
        sentences.append(f"{_cells(same)} from rollouts of the same checkpoint in both folders.")
    return sentences


def about(differences: Sequence[Difference]) -> str:
    """Whether the tests are about other training seeds or about these trained policies."""
    covered = sum(each.covers_seeds for each in differences)
    if covered == len(differences):
        return ", over training seeds and initial states"
    others = "for these trained policies" if not covered else "in the others for these trained policies"
    return (f", in {covered} over training seeds and initial states" if covered else "") + f", {others}"


def _training_variance(differences: Sequence[Difference]) -> str:
    """Which intervals cover the variance between training runs, and which do not."""
    covered = [each for each in differences if each.covers_seeds]
    same = [each for each in differences if each.same_checkpoint]
    open_ones = len(differences) - len(covered) - len(same)
    own = [each.first.seeds > 1 for each in differences] + [each.second.seeds > 1 for each in differences]
    sentences = []
    if any(own):
        some = "" if all(own) else " of scores with several training seeds"
        sentences.append(
            f"The intervals{some} in the columns A and B cover the variance between training runs."
        )
    if covered:
        cells = "all cells" if len(covered) == len(differences) else _of(len(covered), differences)
        sentences.append(f"In {cells}, the interval and the test of B minus A cover it, too.")
    if open_ones:
        where = "The" if open_ones == len(differences) else f"In {_of(open_ones, differences)}, the"
        does = "do not cover it" if any(own) else "do not cover the variance between training runs"
        sentences.append(
            f"{where} interval and the test of B minus A {does}: two runs of the same recipe may differ by "
            "more than the interval shows."
        )
    if same:
        sentences.append("Rollouts of the same checkpoint differ by the rollouts alone.")
    return " ".join(sentences)


def _of(count: int, differences: Sequence[Difference]) -> str:
    return f"{count} of {len(differences)} cells"


def _cells(count: int) -> str:
    return "1 cell is" if count == 1 else f"{count} cells are"


def _label(cell: Cell) -> str:
    return f"{_policy(cell)} on {names.benchmark(cell.benchmark)}"


def _policy(cell: Cell) -> str:
    after = "" if cell.auxiliary == "none" else f" after {names.auxiliary(cell.auxiliary)}"
    return f"{names.model(cell.model)}{after}, {names.variant(cell.variant)}"


def _printed_row(each: Difference) -> list[str]:
    def printed(value: float, low: float, high: float, signed: bool = False) -> str:
        value, low, high = (names.number(each.metric, number, signed) for number in (value, low, high))
        return f"{value} [{low}, {high}]"

    return [
        _policy(each.cell),
        printed(each.first.value, each.first.ci_low, each.first.ci_high),
        printed(each.second.value, each.second.ci_low, each.second.ci_high),
        printed(each.difference, each.ci_low, each.ci_high, signed=True),
        each.test if each.why_unpaired == "" else f"{each.test}, not paired",
        names.p_value(each.p_value),
        names.p_value(each.adjusted),
    ]


def _record(each: Difference) -> dict[str, Any]:
    return {
        **each.cell._asdict(),
        "metric": f"difference in {each.metric}",
        "value": each.difference,
        "ci_low": each.ci_low,
        "ci_high": each.ci_high,
        "episodes": min(each.first.episodes, each.second.episodes),
        "first_value": each.first.value,
        "first_episodes": each.first.episodes,
        "first_seeds": each.first.seeds,
        "second_value": each.second.value,
        "second_episodes": each.second.episodes,
        "second_seeds": each.second.seeds,
        "p_value": each.p_value,
        "p_adjusted": each.adjusted,
        "test": each.test,
        "why_unpaired": each.why_unpaired,
        "same_checkpoint": each.same_checkpoint,
    }
