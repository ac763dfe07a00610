"""The differences between paper.yaml and released.yaml, as the generated table of docs/fidelity.md.

`python tests/support/fidelity_table.py` writes the table into the page.
"""

import re
import sys
from pathlib import Path

from pydantic import BaseModel

from vlm4vla.config.layers import read_layers
from vlm4vla.conventions.scales import BASE, LAYERS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/fidelity.md"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
NAMES = {"study", "scale"}  # of the studies: no behaviour


def configuration(scale):
    return read_layers([ROOT / path for path in (BASE, *LAYERS[scale])])


def differences(path, paper, released):
    """(path, value in paper.yaml, value in released.yaml) of each differing leaf, defaults included."""
    if isinstance(paper, BaseModel) and type(paper) is type(released):
        for name in type(paper).model_fields:
            yield from differences((*path, name), getattr(paper, name), getattr(released, name))
    elif isinstance(paper, dict) and isinstance(released, dict):
        for name in dict.fromkeys([*paper, *released]):
            yield from differences((*path, name), paper.get(name), released.get(name))
    elif paper != released:
        yield path, paper, released


def all_differences():
    found = differences((), configuration("paper"), configuration("released"))
    return [each for each in found if each[0][0] not in NAMES]


def rows_of_page(text):
    """{number of the difference: the settings in backticks in its row}, from the table written by hand."""
    found = {}
    for line in text.split(BEGIN)[0].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0].isdigit():
            found[int(cells[0])] = re.findall(r"`([a-z_.]+)`", cells[-1])
    return found


def number_of(path, rows):
    """The difference that a setting belongs to. Raises LookupError if the page has no row for it."""
    key = ".".join(path)
    for number, settings in rows.items():
        if any(key == setting or key.endswith(f".{setting}") for setting in settings):
            return number
    raise LookupError(f"{PAGE.name}: no row names the setting {key}: add it to a row, in backticks")


def shown(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def generated(text, found=None):
    """The table for the differences `found`, by default those between the two files."""
    rows = rows_of_page(text)
    grouped = {}
    for path, paper, released in all_differences() if found is None else found:
        head, where, key = (path[0], path[1], path[2:]) if path[0] in ("backbones", "benchmarks") else (
            None, None, path)  # fmt: skip
        line = (
            number_of(path, rows),
            f"{head}.*." if head else "",
            ".".join(key),
            shown(paper),
            shown(released),
        )
        grouped.setdefault(line, []).append(where)
    lines = ["| difference | setting | of | paper.yaml | released.yaml |", "| --- | --- | --- | --- | --- |"]
    for (number, head, key, paper, released), where in sorted(grouped.items(), key=lambda item: item[0][0]):
        of = ", ".join(name for name in where if name) or "all"
        lines.append(f"| {number} | `{head}{key}` | {of} | {paper} | {released} |")
    return "\n".join(lines)


def with_table(text):
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{generated(text)}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    sys.stdout.write(generated(PAGE.read_text()) + "\n")
    PAGE.write_text(with_table(PAGE.read_text()))
