"""Which files each table writes: read by the workflow when it builds its jobs, so no heavy imports here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TABLES = ("main", "freeze", "scratch", "auxiliary", "fast_injection", "executed_steps", "correlation")
_FIGURES = {
    "main": ("main", "radar", "ranks", "tasks", "learning_curves"),
    "freeze": ("freeze",),
    "scratch": ("scratch",),
    "auxiliary": ("auxiliary",),
    "fast_injection": ("fast_injection",),
    "executed_steps": ("executed_steps",),
    "correlation": ("correlation", "correlation_sets"),
}


def generated(table: str, cells: Mapping[str, Any]) -> list[str]:
    """Backbones of the table `auxiliary` whose decoder's drawings are among the figures."""
    if table != "auxiliary":
        return []
    return [vlm for vlm in cells["backbones"] if "omni-generation" in cells["auxiliaries"][vlm]]


def outputs(table: str, cells: Mapping[str, Any] | None = None) -> list[str]:
    """Paths, relative to the study's results folder, that `vlm4vla.stages.table.run` writes for `table`.

    `cells`: as the stage's settings have them; without, pages of single backbones are left out.
    """
    figures = [*_FIGURES[table], *(f"generated_{vlm}" for vlm in (generated(table, cells) if cells else ()))]
    return [
        *(f"tables/{table}.{suffix}" for suffix in ("csv", "md", "tex", "html")),
        *(f"figures/{figure}.{suffix}" for figure in figures for suffix in ("pdf", "png")),
        f"analysis/{table}.json",
        f"analysis/{table}.rst",
    ]


def film_outputs(benchmarks: Sequence[str]) -> list[str]:
    """Paths, relative to the study's results folder, that `vlm4vla.stages.films.run` writes."""
    pages = [f"films/{benchmark}.html" for benchmark in benchmarks]
    return [*pages, *(f"figures/failures.{suffix}" for suffix in ("pdf", "png"))]


SUMMARY = ("summary.md", "summary.rst")  # of `vlm4vla.stages.summary.run`
CONFIG = ("config.yaml", "config.html")  # of `vlm4vla.stages.study_config.run`
