"""The files that tables, films, the summary and the published study write.

The workflow imports this module before any job starts, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlm4vla.conventions.tables import TABLES
from vlm4vla.study.layout import ARTEFACTS

SUMMARY = tuple(ARTEFACTS["summary"].paths())  # of `vlm4vla.stages.summary.run`
CONFIG = tuple(ARTEFACTS["study_config"].paths())  # of `vlm4vla.stages.study_config.run`
# The published study: its target, which is also the name of its folder, its tables and its inputs.
PUBLISHED = "published"
NOTES = "notes.csv"  # doubts about published numbers
PUBLISHED_TABLES = ("main", "freeze", "fast_injection", "auxiliary", "correlation", "comparisons", "flagged")
PUBLISHED_SOURCES = (
    "main.csv",
    "freeze.csv",
    "fast_injection.csv",
    "auxiliary_calvin.csv",
    "correlation.csv",
    NOTES,
)
# Tables of other papers, which `vlm4vla judge` can read
OTHER_PAPERS = ("openvla_libero", "rethinking_vlm", "starvla_libero", "starvla_simpler")
OTHER_SOURCES = tuple(f"others/{name}.csv" for name in OTHER_PAPERS)


def generated(table: str, auxiliaries: Mapping[str, Sequence[str]]) -> list[str]:
    """The backbones whose generated images are among the figures of `table`.

    `auxiliaries`: the auxiliary tasks of each backbone, as the table's cells list them.
    """
    if not TABLES[table].generated_images:
        return []
    return [backbone for backbone, tasks in auxiliaries.items() if "omni-generation" in tasks]


def outputs(table: str, auxiliaries: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The paths that `vlm4vla.stages.table.run` writes for `table`, relative to the study's results folder.

    `auxiliaries`: the auxiliary tasks of each backbone; without them, figures of single backbones are left
    out.
    """
    pages = [f"generated_{backbone}" for backbone in generated(table, auxiliaries or {})]
    figures = [*(figure.name for figure in TABLES[table].figures), *pages]
    return [
        *ARTEFACTS["table"].paths(table=table),
        *(path for name in figures for path in ARTEFACTS["figure"].paths(figure=name)),
        ARTEFACTS["analysis"].path(table=table),
        ARTEFACTS["caption"].path(table=table),
    ]


def film_outputs(benchmarks: Sequence[str]) -> list[str]:
    """The paths that `vlm4vla.stages.films.run` writes, relative to the study's results folder."""
    pages = [ARTEFACTS["films"].path(benchmark=benchmark) for benchmark in benchmarks]
    return [*pages, *ARTEFACTS["figure"].paths(figure="failures")]


def published_outputs() -> list[str]:
    """The paths that `vlm4vla.stages.published.run` writes, relative to the folder of the published study."""
    judged = [f"judged_{name}" for name in OTHER_PAPERS]
    return [
        *(path for table in PUBLISHED_TABLES for path in ARTEFACTS["published"].paths(table=table)),
        *(ARTEFACTS["analysis"].path(table=table) for table in PUBLISHED_TABLES),
        *(path for table in judged for path in ARTEFACTS["published"].paths(table=table)),
        *(path for table in judged for path in ARTEFACTS["figure"].paths(figure=table)),
    ]
