"""Which files each table writes: read by the workflow when it builds its jobs, so no heavy imports here."""

from __future__ import annotations

TABLES = ("main", "freeze", "scratch", "auxiliary", "fast_injection", "correlation")
_FIGURES = {
    "main": ("main", "learning_curves"),
    "freeze": ("freeze",),
    "scratch": ("scratch",),
    "auxiliary": ("auxiliary",),
    "fast_injection": ("fast_injection",),
    "correlation": ("correlation", "correlation_sets"),
}


def outputs(table: str) -> list[str]:
    """Paths, relative to the study's results folder, that `vlm4vla.report.stage.run` writes for `table`."""
    return [
        *(f"tables/{table}.{suffix}" for suffix in ("csv", "md", "tex")),
        *(f"figures/{figure}.{suffix}" for figure in _FIGURES[table] for suffix in ("pdf", "png")),
        f"analysis/{table}.json",
    ]
