"""Where each file stands in Snakemake's report: category, labels and caption, by its path in the results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from vlm4vla.report import names

CAPTIONS = "../workflow/report"  # from the rules' folder
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
_NAMES = {
    "main": "backbones as policies",
    "freeze": "frozen modules",
    "scratch": "random weights",
    "auxiliary": "auxiliary tasks",
    "fast_injection": "FAST tokens",
    "executed_steps": "executed steps",
    "correlation": "question scores and policy scores",
    "correlation_sets": "correlation by question set",
    "radar": "radar: backbones over benchmarks",
    "ranks": "ranks of the backbones",
    "tasks": "success by task",
    "failures": "how policies fail",
    "learning_curves": "learning curves",
    "config": "configuration",
    "summary": "summary",
}
_TRAINING, _ROLLOUTS = ("learning_curves", "generated"), ("failures",)


def entry_of(study: Any, path: str) -> dict[str, Any]:
    """The same for a path from the workflow's folder."""
    return entry(str(PurePosixPath(path).relative_to(study.root)))


def entry(path: str) -> dict[str, Any]:
    """Arguments of Snakemake's `report()` for a file of the study, `path` relative to its results folder."""
    file = PurePosixPath(path)
    folder = file.parent.name
    stem, form = file.name.removesuffix(file.suffix), _FORMS[file.suffix[1:]]
    kind = "generated" if stem.startswith("generated_") else stem
    name = _NAMES.get(stem, stem)
    if folder == "tables":
        return _entry("Tables", stem, {"table": name, "form": form})
    if folder == "films":
        return _entry("Rollouts", "films", {"rollouts": f"films: {names.benchmark(stem)}", "form": form})
    if folder == "analysis":
        return _entry("Provenance", "numbers", {"artefact": f"numbers behind: {name}", "form": form})
    if folder == "figures":
        if kind == "generated":
            name = f"what {names.model(stem.removeprefix('generated_'))} generates"
        category = "Training" if kind in _TRAINING else "Rollouts" if kind in _ROLLOUTS else "Figures"
        label = {"Training": "training", "Rollouts": "rollouts"}.get(category, "figure")
        return _entry(category, kind, {label: name, "form": form})
    return _entry("Provenance", kind, {"artefact": name, "form": form})


def _entry(category: str, caption: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"category": category, "labels": dict(labels), "caption": f"{CAPTIONS}/{caption}.rst"}
