"""`vlm4vla judge`: what the numbers of a published table decide, as Markdown, CSV, LaTeX and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlm4vla.core.errors import UserError
from vlm4vla.report.figures import style
from vlm4vla.report.figures.judged import draw_judged
from vlm4vla.report.judged.table_file import PERCENT, PrintedTable, read_table
from vlm4vla.report.judged.tables import judged_table
from vlm4vla.report.judged.verdicts import NOT_DECIDABLE, JudgedComparison, interval, judge
from vlm4vla.report.published_study.comparisons import DOES_NOT_SURVIVE, SURVIVES, UNDECIDED
from vlm4vla.report.rows.table import Table

REFERENCE = "compared with"
COLOURS = {
    SURVIVES: style.VERMILION,
    DOES_NOT_SURVIVE: style.BLUE,
    UNDECIDED: style.ORANGE,
    NOT_DECIDABLE: style.GREY,
    REFERENCE: style.BLACK,
}


def run(path: Path, output: Path | None) -> None:
    """Judge the table in the CSV file `path` and print the result in Markdown.

    With `output`, a folder, also write {name}.csv, {name}.md, {name}.tex, {name}.pdf and {name}.png there;
    {name} is the file's name with "judged_" before it. Raises UserError (one line).
    """
    if output is not None and output.exists() and not output.is_dir():
        raise UserError(f"--output {str(output)!r}: this is a file: write the name of a folder")
    table = read_table(path)
    comparisons = judge(table)
    judged = judged_table(table, comparisons)
    print(judged.markdown(), end="")
    if output is not None:
        write(judged, output, output / judged.name, table, comparisons)
        print(f"\n{output}/{judged.name}: .csv, .md, .tex, .pdf, .png")


def write(
    judged: Table,
    folder: Path,
    figure: Path,
    table: PrintedTable,
    comparisons: Sequence[JudgedComparison],
) -> None:
    """Write the table's three files to `folder`, and its figure to `figure`.{pdf,png}."""
    judged.write(folder, judged.name)
    draw_judged(table.rows, _panels(table, comparisons), COLOURS, figure)


def _panels(table: PrintedTable, comparisons: Sequence[JudgedComparison]) -> dict[str, list]:
    """The numbers of each column as `draw_judged` needs them, in the printed unit.

    The label of a number is the verdict on its difference from its baseline. Without baselines, it is the
    verdict on its difference from the highest number of the column.
    """
    panels = {}
    for column in table.columns:
        numbers = [number for number in table.numbers if number.column == column]
        here = [each for each in comparisons if each.first.column == column]
        best = max(numbers, key=lambda number: number.value)
        labels = {}
        for each in here:
            if each.first.baseline:
                labels[each.first] = each.verdict
            elif each.second is not None and best in (each.first, each.second):
                labels[each.second if each.first == best else each.first] = each.verdict
        shown = []
        for number in numbers:
            factor = 100 if number.unit == PERCENT else 1
            limits = interval(number)
            if limits is not None:
                limits = (factor * limits[0], factor * limits[1])
            shown.append((number.row, factor * number.value, limits, labels.get(number, REFERENCE)))
        panels[f"{column}, {numbers[0].unit}"] = shown
    return panels
