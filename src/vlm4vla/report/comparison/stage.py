"""`vlm4vla compare`: two results folders as one table, in Markdown and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.report import names
from vlm4vla.report.comparison.studies import Compared, Difference, compare_studies
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
    """Compare the folders; print Markdown, or write it and a CSV beside each other as `output` says.

    Raises UserError for folders that cannot be compared and for an `output` of another kind.
    """
    if output is not None and output.suffix not in SUFFIXES:
        raise UserError(f"--output {str(output)!r}: write a name that ends in {' or '.join(SUFFIXES)}")
    if output is not None and output.is_dir():
        raise UserError(f"--output {str(output)!r}: is a folder: write the name of a file")
    table = build(str(first), str(second), compare_studies(Results(first), Results(second)))
    if output is None:
        print(table.markdown(), end="")
        return
    table.write(output.parent, output.stem, latex=False)
    print(f"{output.with_suffix('.md')}, {output.with_suffix('.csv')}: {table.verdicts[0]}")


def build(first: str, second: str, compared: Compared) -> Table:
    """The comparison of folders `first` (A) and `second` (B)."""
    differences = compared.differences
    records = [_row(one) for one in differences]
    records += [_lonely(cell, "A") for cell in compared.only_first]
    records += [_lonely(cell, "B") for cell in compared.only_second]
    gaps = [f"{_label(cell)} in B" for cell in compared.only_first]
    gaps += [f"{_label(cell)} in A" for cell in compared.only_second]
    blocks = []
    for benchmark in dict.fromkeys(one.cell.benchmark for one in differences):
        here = [one for one in differences if one.cell.benchmark == benchmark]
        header = ["policy", "A", "B", "B minus A", "test", "p", "p after Holm"]
        title = f"{names.benchmark(benchmark)}: {names.unit(here[0].metric)}"
        blocks.append(Block(title, header, [_line(one) for one in here]))
    return Table(
        name="comparison",
        title="Two studies, cell by cell",
        caption=(
            f"A: {first}. B: {second}. In brackets: 95 % intervals. Where both met the same initial "
            "states under the same protocol, differences are paired by state (McNemar's or sign-flip test, "
            "bootstrap interval); elsewhere they are not (Boschloo's test and Newcombe's interval for "
            "success of one training seed, else a permutation test with a bootstrap interval). Tests are "
            "two-sided; Holm's correction is over all cells that both folders have. The variance between "
            "training runs is in no interval: two runs of one recipe may differ more than the episodes say."
        ),
        records=records,
        blocks=blocks,
        verdicts=_verdicts(differences),
        gaps=gaps,
        extra=EXTRA,
    )


def _verdicts(differences: Sequence[Difference]) -> list[str]:
    clear = [one for one in differences if one.adjusted < LEVEL]
    higher = sum(one.difference > 0 for one in clear)
    verdict = (
        f"{len(differences)} cells are in both; B is higher in {higher} and lower in {len(clear) - higher} "
        "(5 % level after Holm's correction)."
    )
    loose: dict[str, int] = {}
    for one in differences:
        if one.why_unpaired:
            loose[one.why_unpaired] = loose.get(one.why_unpaired, 0) + 1
    sentences = [f"Not paired in {count} cells: {why}." for why, count in loose.items()]
    twins = sum(one.twins for one in differences)
    if twins:
        sentences.append(f"{twins} cells were rolled out with the same checkpoint in both.")
    return [verdict, *sentences]


def _label(cell: Cell) -> str:
    return f"{_policy(cell)} on {names.benchmark(cell.benchmark)}"


def _policy(cell: Cell) -> str:
    after = "" if cell.auxiliary == "none" else f" after {names.auxiliary(cell.auxiliary)}"
    return f"{names.model(cell.model)}{after}, {names.variant(cell.variant)}"


def _line(one: Difference) -> list[str]:
    def shown(value: float, low: float, high: float, signed: bool = False) -> str:
        value, low, high = (names.number(one.metric, each, signed) for each in (value, low, high))
        return f"{value} [{low}, {high}]"

    return [
        _policy(one.cell),
        shown(one.first.value, one.first.ci_low, one.first.ci_high),
        shown(one.second.value, one.second.ci_low, one.second.ci_high),
        shown(one.difference, one.ci_low, one.ci_high, signed=True),
        one.test if one.why_unpaired == "" else f"{one.test}, not paired",
        names.p_value(one.p_value),
        names.p_value(one.adjusted),
    ]


def _row(one: Difference) -> dict[str, Any]:
    return {
        **one.cell._asdict(),
        "metric": f"difference in {one.metric}",
        "value": one.difference,
        "ci_low": one.ci_low,
        "ci_high": one.ci_high,
        "episodes": min(one.first.episodes, one.second.episodes),
        "first_value": one.first.value,
        "first_episodes": one.first.episodes,
        "first_seeds": one.first.seeds,
        "second_value": one.second.value,
        "second_episodes": one.second.episodes,
        "second_seeds": one.second.seeds,
        "p_value": one.p_value,
        "p_adjusted": one.adjusted,
        "test": one.test,
        "why_unpaired": one.why_unpaired,
        "same_checkpoint": one.twins,
    }


def _lonely(cell: Cell, folder: str) -> dict[str, Any]:
    return {**cell._asdict(), "only_in": folder}
