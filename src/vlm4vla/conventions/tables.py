"""The tables of the study: one entry per table, with everything that other modules must know about it.

To add a table, write `report/tables/NAME.py` with a function that builds it, and add its entry to `TABLES`.
The workflow reads the entries before any job starts, so this module imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure of a table, in figures/ as PDF and PNG. Empty fields take the table's title and caption."""

    name: str
    """Stem of the files."""
    label: str = ""
    """Name in Snakemake's report."""
    caption: str = ""
    """Stem of the file in workflow/report that holds the figure's caption in Snakemake's report."""
    category: str = "Figures"
    """Where Snakemake's report lists the figure."""


@dataclass(frozen=True)
class TableEntry:
    """One table: where its numbers come from, what it draws, and how users ask for it."""

    title: str
    """What the table shows, as it reads in the middle of a sentence."""
    target: str
    """The workflow's target for this table alone; the name of its rule and of the Makefile's target."""
    builder: str
    """`module:function`. The function takes a `TableInputs` and returns a `Table`, both of vlm4vla.report."""
    figures: tuple[Figure, ...]
    """The figures that the builder draws."""
    published: tuple[str, ...]
    """Files in workflow/published that the builder reads."""
    caption: str = "table"
    """Stem of the file in workflow/report that holds the table's caption in Snakemake's report."""
    same_cells_as: str | None = None
    """The table of config.yaml whose cells this table shows, without the expert VLAs. The table is made
    whenever the other one is, and has no key in config.yaml."""

    # What the table shows beyond the policies' scores, and so needs as inputs.
    fine_tuned: bool = False
    """Backbones after auxiliary tasks. The cells may list `auxiliaries`; the builder gets their scores."""
    capability: bool = False
    """Question scores of the backbones."""
    training_curves: bool = False
    """The training loss of every VLA."""
    generated_images: bool = False
    """Images that a backbone's decoder generated after omni-generation: one more figure per backbone."""
    fast_report: bool = False
    """The report on the FAST tokens."""
    families: bool = False
    """The family of each backbone, as `families` in the settings."""
    horizons: bool = False
    """Rollouts by every number of executed steps of a benchmark, as `horizons` in the settings."""
    transfer: bool = False
    """Rankings on two benchmarks or more, and records of other studies, as `transfer` in the settings. The
    table is made only if there are two benchmarks, or a benchmark and another study."""


TABLES: dict[str, TableEntry] = {
    "main": TableEntry(
        title="backbones as policies",
        target="table_main",
        builder="vlm4vla.report.tables.main:build",
        figures=(
            Figure("main"),
            Figure("radar", "radar: backbones over benchmarks", "radar"),
            Figure("ranks", "ranks of the backbones", "ranks"),
            Figure("tasks", "success by task", "tasks"),
            Figure("learning_curves", "learning curves", "learning_curves", "Training"),
        ),
        published=("main.csv",),
        caption="main",
        training_curves=True,
    ),
    "freeze": TableEntry(
        title="frozen modules",
        target="table_freeze",
        builder="vlm4vla.report.tables.freeze:build",
        figures=(Figure("freeze"),),
        published=("freeze.csv",),
        caption="freeze",
    ),
    "scratch": TableEntry(
        title="random weights",
        target="table_scratch",
        builder="vlm4vla.report.tables.scratch:build",
        figures=(Figure("scratch"),),
        published=("main.csv",),
    ),
    "auxiliary": TableEntry(
        title="auxiliary tasks",
        target="table_auxiliary",
        builder="vlm4vla.report.tables.auxiliary:build",
        figures=(Figure("auxiliary"),),
        published=("auxiliary_calvin.csv",),
        caption="auxiliary",
        fine_tuned=True,
        capability=True,
        generated_images=True,
    ),
    "fast_injection": TableEntry(
        title="FAST tokens",
        target="table_fast_injection",
        builder="vlm4vla.report.tables.fast_injection:build",
        figures=(Figure("fast_injection"),),
        published=("fast_injection.csv",),
        fine_tuned=True,
        capability=True,
        fast_report=True,
    ),
    "executed_steps": TableEntry(
        title="executed steps",
        target="table_executed_steps",
        builder="vlm4vla.report.tables.executed_steps:build",
        figures=(Figure("executed_steps"),),
        published=("main.csv",),
        horizons=True,
    ),
    "correlation": TableEntry(
        title="question scores and policy scores",
        target="correlation",
        builder="vlm4vla.report.tables.correlation:build",
        figures=(
            Figure("correlation"),
            Figure("correlation_sets", "correlation by question set", "correlation_sets"),
        ),
        published=("correlation.csv", "main.csv"),
        caption="correlation",
        same_cells_as="main",
        capability=True,
        families=True,
    ),
    "transfer": TableEntry(
        title="what carries over between benchmarks",
        target="table_transfer",
        builder="vlm4vla.report.tables.transfer:build",
        figures=(),
        published=("main.csv",),
        same_cells_as="main",
        families=True,
        transfer=True,
    ),
}


def configured_tables() -> list[str]:
    """The tables that have a key in config.yaml."""
    return [name for name, entry in TABLES.items() if entry.same_cells_as is None]


def heading(table: str) -> str:
    """The title of `table` with a capital letter."""
    title = TABLES[table].title
    return title[0].upper() + title[1:]
