"""Checks that every table of fine-tuned backbones must pass, and helpers that read tables."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import matplotlib.image

from vlm4vla.report.rows.table import TIDY
from vlm4vla.study.outputs import outputs


def read_rows(folder: Path, table: str) -> list[dict[str, str]]:
    """The rows of tables/{table}.csv."""
    with (folder / "tables" / f"{table}.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def only(found: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    """The only row with the `wanted` values."""
    chosen = [row for row in found if all(row[key] == value for key, value in wanted.items())]
    assert len(chosen) == 1, (wanted, len(chosen))
    return chosen[0]


def declared_outputs(folder: Path, table: str) -> list[str]:
    """The files that a written table has, by the settings in its JSON."""
    settings = json.loads((folder / "analysis" / f"{table}.json").read_text())["settings"]
    return outputs(table, settings["cells"]["auxiliaries"])


def check_whole(folder: Path, table: str) -> None:
    """The declared files and no others are there; CSV is tidy, figures are not empty, LaTeX is balanced."""
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == set(declared_outputs(folder, table))
    found = read_rows(folder, table)
    assert tuple(found[0])[: len(TIDY)] == TIDY
    keys = [
        tuple(row[key] for key in ("model", "auxiliary", "variant", "benchmark", "metric")) for row in found
    ]
    assert len(set(keys)) == len(keys)
    for row in found:
        low, value, high = (float(row[key] or "nan") for key in ("ci_low", "value", "ci_high"))
        assert not value < low and not value > high
    image = matplotlib.image.imread(folder / "figures" / f"{table}.png")
    assert min(image.shape[:2]) > 250 and image.shape[1] > 800
    assert image[..., :3].std() > 0.05
    text = (folder / "tables" / f"{table}.tex").read_text()
    assert text.isascii()
    bare = text.replace("\\{", "").replace("\\}", "")
    assert bare.count("{") == bare.count("}")
    for columns, body in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, flags=re.S):
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert lines
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in lines)


def check_benchmark_names(folder: Path, table: str) -> None:
    """The name of the real benchmark never appears alone."""
    for suffix in ("md", "tex"):
        text = (folder / "tables" / f"{table}.{suffix}").read_text().replace("BridgeVQA", "")
        assert re.search(r"(?:CALVIN|Bridge) \(embedded\)", text)
        assert not re.findall(r"(?:CALVIN|Bridge|LIBERO-10)(?! \(embedded\))", text)


def check_same_bytes(one: Path, other: Path, table: str) -> None:
    for name in declared_outputs(one, table):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
