"""The entry of each file in Snakemake's report: its category, labels and caption, from its path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from vlm4vla.conventions.tables import TABLES
from vlm4vla.report import names

CAPTIONS = "../workflow/report"  # relative to the folder of the rules
_FORMS = {
    "html": "A page",
    "csv": "CSV",
    "md": "Markdown",
    "tex": "LaTeX",
    "png": "PNG",
    "pdf": "for print (PDF)",
    "json": "JSON",
    "yaml": "YAML",
    "rst": "reStructuredText",
}
_NAMES = {"config": "configuration", "summary": "summary"}


def study_entry(study: Any, path: str) -> dict[str, Any]:
    """The `report_entry` of a file of `study`. `path` is relative to the workflow's folder."""
    return report_entry(str(PurePosixPath(path).relative_to(study.root)))


def report_entry(path: str) -> dict[str, Any]:
    """The arguments of Snakemake's `report()` for a file. `path` is relative to the results folder."""
    file = PurePosixPath(path)
    folder = file.parent.name
    stem, form = file.name.removesuffix(file.suffix), _FORMS[file.suffix[1:]]
    if folder == "tables":
        return _entry("Tables", TABLES[stem].caption, {"table": TABLES[stem].title, "form": form})
    if folder == "films":
        return _entry("Rollouts", "films", {"rollouts": f"films: {names.benchmark(stem)}", "form": form})
    if folder == "analysis":
        numbers = f"numbers behind: {TABLES[stem].title}"
        return _entry("Provenance", "numbers", {"artefact": numbers, "form": form})
    if folder == "figures":
        return _figure(stem, form)
    return _entry("Provenance", stem, {"artefact": _NAMES[stem], "form": form})


def _figure(stem: str, form: str) -> dict[str, Any]:
    if stem == "failures":
        return _entry("Rollouts", stem, {"rollouts": "failures of the policies", "form": form})
    if stem.startswith("generated_"):
        backbone = names.model(stem.removeprefix("generated_"))
        return _entry(
            "Training", "generated", {"training": f"images that {backbone} generates", "form": form}
        )
    table, figure = next(
        (table, figure) for table in TABLES.values() for figure in table.figures if figure.name == stem
    )
    kind = "training" if figure.category == "Training" else "figure"
    label = {kind: figure.label or table.title, "form": form}
    return _entry(figure.category, figure.caption or table.caption, label)


def _entry(category: str, caption: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"category": category, "labels": dict(labels), "caption": f"{CAPTIONS}/{caption}.rst"}
