"""Checks of a written table that hold for every table of fine-tuned backbones."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import matplotlib.image

from vlm4vla.report.rows.table import TIDY
from vlm4vla.study.outputs import outputs


def read_rows(folder: Path, table: str) -> list[dict[str, str]]:
    """The rows of tables/{table}.csv."""
    with (folder / "tables" / f"{table}.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def only(found: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    """The one row with the `wanted` values."""
    chosen = [row for row in found if all(row[key] == value for key, value in wanted.items())]
    assert len(chosen) == 1, (wanted, len(chosen))
    return chosen[0]


def cells_of(folder: Path, table: str) -> dict[str, Any]:
    """The cells that a table was made of, as its JSON says."""
    return json.loads((folder / "analysis" / f"{table}.json").read_text())["settings"]["cells"]


def check_whole(folder: Path, table: str) -> None:
    """Every declared file and no other; a tidy CSV; figures that are pictures; LaTeX that is balanced."""
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == set(outputs(table, cells_of(folder, table)))
    found = read_rows(folder, table)
    assert tuple(found[0])[: len(TIDY)] == TIDY
    keys = [
        tuple(row[key] for key in ("model", "auxiliary", "variant", "benchmark", "metric")) for row in found
    ]
    assert len(set(keys)) == len(keys)
    for row in found:
        low, value, high = (float(row[key] or "nan") for key in ("ci_low", "value", "ci_high"))
        assert not value < low and not value > high
    picture = matplotlib.image.imread(folder / "figures" / f"{table}.png")
    assert picture.shape[0] > 400 and picture.shape[1] > 900
    assert picture[..., :3].std() > 0.05
    text = (folder / "tables" / f"{table}.tex").read_text()
    assert text.isascii()
    bare = text.replace("\\{", "").replace("\\}", "")
    assert bare.count("{") == bare.count("}")
    for columns, body in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, flags=re.S):
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert lines
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in lines)


def check_benchmark_names(folder: Path, table: str) -> None:
    """No benchmark bears the real one's name alone."""
    for suffix in ("md", "tex"):
        text = (folder / "tables" / f"{table}.{suffix}").read_text().replace("BridgeVQA", "")
        assert re.search(r"(?:CALVIN|Bridge) \(embedded\)", text)
        assert not re.findall(r"(?:CALVIN|Bridge|LIBERO-10)(?! \(embedded\))", text)


def check_same_bytes(one: Path, other: Path, table: str) -> None:
    for name in outputs(table, cells_of(one, table)):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
