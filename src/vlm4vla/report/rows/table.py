"""A table in three formats: tidy CSV for programs, Markdown for reading, LaTeX (booktabs) for a paper."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import atomic_path, write_text
from vlm4vla.core.markup import csv_text, markdown_line, markdown_text
from vlm4vla.report import marks
from vlm4vla.report.rows.early_stops import STOPPED

TIDY = (
    "model",
    "variant",
    "benchmark",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "episodes",
    "seeds",
    "published",
)
GAP = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    GAP: "--",
    NO_BREAK: "~",
    marks.DOUBT: r"\textdagger{}",
    marks.ELSEWHERE: r"\textdaggerdbl{}",
    marks.FLAGGED: r"\S{}",
    marks.STOPPED: r"\P{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    # Names of policies that users write, such as pi with a subscript
    "\N{GREEK SMALL LETTER PI}": r"$\pi$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    "\N{GREEK SMALL LETTER LAMDA}": r"$\lambda$",
    **{chr(ord("\N{SUBSCRIPT ZERO}") + digit): rf"\textsubscript{{{digit}}}" for digit in range(10)},
}
# A number with its interval, an interval alone, and a number with ±
_WHOLE = re.compile(
    r"[+-]?\d[\d.]*\S? \[[^\[\]]+\]"
    r"|\[[+-]?[\d.]+, [+-]?[\d.]+\]|[\d.]+ \(±[\d.]+\)"
)
_BREAKS = re.compile(r"\s*[\r\n]\s*")  # an empty line would end a caption


def tex(text: str) -> str:
    """`text` with LaTeX's special characters escaped. The text of our own tables becomes pure ASCII."""
    return "".join(_TEX.get(character, character) for character in _BREAKS.sub(" ", text))


def kept_together(text: str) -> str:
    """`text` in which no line ends between a number and its interval, or within an interval."""
    return _WHOLE.sub(lambda found: found[0].replace(" ", NO_BREAK), text)


@dataclass(frozen=True)
class Block:
    """One grid of printed cells with a title. The first column names the row."""

    title: str
    header: list[str]
    rows: list[list[str]]
    rules: list[int] = field(default_factory=list)  # rows before which LaTeX draws a line


@dataclass(frozen=True)
class Table:
    """A table for programs and for readers.

    `records` are tidy rows with the columns of `tidy` and of `extra`. `blocks` are the printed grids.
    `caption` says what was measured and how. Each of `verdicts` is a sentence about what the numbers show.
    Each of `gaps` names a cell or a score that was not measured. `details` are further values for the JSON.
    """

    name: str
    title: str
    caption: str
    records: list[dict[str, Any]]
    blocks: list[Block]
    verdicts: list[str]
    gaps: list[str]
    extra: tuple[str, ...] = ()
    tidy: tuple[str, ...] = TIDY
    details: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, name: str, latex: bool = True) -> None:
        """Write {name}.csv, {name}.md and, with `latex`, {name}.tex into `folder`, each atomically."""
        with atomic_path(folder / f"{name}.csv") as path, path.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            early = [STOPPED] if any(record.get(STOPPED) for record in self.records) else []
            columns = (*self.tidy, *self.extra, *early)
            writer.writerow(map(csv_text, columns))
            writer.writerows([_plain(record.get(column)) for column in columns] for record in self.records)
        write_text(folder / f"{name}.md", self.markdown())
        if latex:
            write_text(folder / f"{name}.tex", self.latex())

    def analysis(self, settings: Any) -> dict[str, Any]:
        """The table as JSON values: settings, caption, verdicts, gaps, tidy records and details."""
        return {
            "table": self.name,
            "settings": dict(settings),
            "caption": self.caption,
            "verdicts": self.verdicts,
            "gaps": self.gaps,
            "records": self.records,
            **self.details,
        }

    def markdown(self) -> str:
        """Title, verdicts, grids, gaps and caption."""
        parts = [f"# {markdown_line(self.title)}"]
        points = [f"- {markdown_line(kept_together(sentence))}" for sentence in self.verdicts]
        parts += ["\n".join(points)] if points else []
        for block in self.blocks:
            lines = (block.header, *block.rows)
            grid = [[markdown_text(kept_together(cell)) for cell in row] for row in lines]
            # Markdown needs a rule of at least two characters to recognise a table.
            widths = [max(2, *(len(row[column]) for row in grid)) for column in range(len(block.header))]
            # Names are aligned to the left, numbers to the right.
            rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
            lines = [_line(grid[0], widths), "| " + " | ".join(rule) + " |"]
            lines += [_line(row, widths) for row in grid[1:]]
            parts += [f"## {markdown_line(block.title)}", "\n".join(lines)]
        parts += [markdown_text(f"Not measured: {'; '.join(self.gaps)}.")] if self.gaps else []
        parts.append(markdown_line(self.caption))
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """One float per grid, for \\input. It needs the packages booktabs and graphicx.

        Verdicts are left out: the text of the paper states them. The caption is a note under the first grid,
        because LaTeX sets a caption in one line to measure it.
        """
        missing = [f"Not measured: {'; '.join(self.gaps)}."] if self.gaps else []
        note = tex(" ".join([*missing, self.caption]))
        lines = [r"% \usepackage{booktabs,graphicx} in the preamble"]
        for number, block in enumerate(self.blocks):
            lines += [
                r"\begin{table}[p]",
                r"  \centering",
                f"  \\caption{{{tex(self.title)}: {tex(block.title)}.}}",
                f"  \\label{{tab:{self.name}{number or ''}}}",
                r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                f"  \\begin{{tabular}}{{l{'r' * (len(block.header) - 1)}}}",
                r"    \toprule",
                f"    {' & '.join(map(tex, block.header))} \\\\",
                r"    \midrule",
            ]
            for index, row in enumerate(block.rows):
                if index in block.rules:
                    lines.append(r"    \midrule")
                lines.append(f"    {' & '.join(tex(kept_together(cell)) for cell in row)} \\\\")
            lines += [r"    \bottomrule", r"  \end{tabular}}"]
            if not number:
                lines += [
                    r"  \par\smallskip",
                    f"  \\begin{{minipage}}{{\\linewidth}}\\scriptsize {note}\\end{{minipage}}",
                ]
            lines.append(r"\end{table}")
        return "\n".join(lines) + "\n"


def _line(row: list[str], widths: list[int]) -> str:
    cells = [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
    ]
    return "| " + " | ".join(cells) + " |"


def _plain(value: Any) -> Any:
    """A CSV cell: empty for a gap, and a number with six significant digits."""
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_text(value)
    return f"{value:.6g}" if isinstance(value, float) else value
