"""Which files the published study has: read by the workflow, so no heavy imports here."""

from __future__ import annotations

TARGET = "published"  # of the workflow, and the folder below `results`
TABLES = ("main", "freeze", "fast_injection", "auxiliary", "correlation", "comparisons", "flagged")
SOURCES = ("main.csv", "freeze.csv", "fast_injection.csv", "auxiliary_calvin.csv", "correlation.csv")


def outputs() -> list[str]:
    """Paths, relative to the results folder of the published study, that its stage writes."""
    return [
        *(f"tables/{table}.{suffix}" for table in TABLES for suffix in ("csv", "md", "tex")),
        *(f"analysis/{table}.json" for table in TABLES),
    ]
