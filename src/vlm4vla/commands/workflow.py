"""Commands that rules of the workflow run beside the stages: they write tables, pages and the report."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from vlm4vla.commands.command import FILES, Command, option
from vlm4vla.config import config
from vlm4vla.config.stages import CellSettings, FilmsSettings, TableSettings, read_settings
from vlm4vla.core.artefacts import together
from vlm4vla.core.imports import load


@together()
def run_table(arguments: argparse.Namespace) -> None:
    """Write one table."""
    settings = read_settings(arguments.settings, TableSettings)
    load("vlm4vla.stages.table")[0].run(
        settings,
        episodes=arguments.episodes,
        capability=arguments.capability,
        curves=arguments.curves,
        auxiliary=arguments.auxiliary,
        fast=arguments.fast,
        published=arguments.published,
        output=arguments.output,
    )


@together()
def run_cell(arguments: argparse.Namespace) -> None:
    """Write one cell."""
    importlib.import_module("vlm4vla.stages.cell").run(
        read_settings(arguments.settings, CellSettings),
        episodes=arguments.episodes,
        capability=arguments.capability,
        auxiliary=arguments.auxiliary,
        output=arguments.output,
    )


@together()
def run_films(arguments: argparse.Namespace) -> None:
    """Write the report's pages with films."""
    importlib.import_module("vlm4vla.stages.films").run(
        read_settings(arguments.settings, FilmsSettings),
        episodes=arguments.episodes,
        output=arguments.output,
    )


@together()
def run_summary(arguments: argparse.Namespace) -> None:
    """Write the study's summary."""
    summary = importlib.import_module("vlm4vla.stages.summary")
    summary.run(analysis=arguments.analysis, output=arguments.output)


@together()
def run_study_config(arguments: argparse.Namespace) -> None:
    """Write the study's configuration."""
    settings = read_settings(arguments.settings, config.Config)
    importlib.import_module("vlm4vla.stages.study_config").run(settings, output=arguments.output)


@together()
def run_published(arguments: argparse.Namespace) -> None:
    """Analyse the paper's numbers."""
    stage = importlib.import_module("vlm4vla.stages.published")
    stage.run(arguments.published, arguments.scores[0] if arguments.scores else None, arguments.output)


EPISODES = option(
    "--episodes", type=Path, nargs="+", required=True, help="the episodes.parquet files of the rollouts"
)
RESULTS = option("--output", type=Path, required=True, help="the study's results folder")
_SOURCES = {
    "capability": "files with question scores",
    "curves": "provenance.json files of the policies, for the learning curves",
    "auxiliary": "provenance.json files of fine-tuned backbones",
    "fast": "provenance.json file of the FAST tokens",
}
WORKFLOW = {
    "table": Command(
        "write a table, its figures and their numbers",
        run_table,
        (
            option("--settings", required=True, metavar="JSON", help="settings of the table"),
            EPISODES,
            *(option(f"--{name}", help=text, **FILES) for name, text in _SOURCES.items()),
            option("--published", type=Path, required=True, help="folder with the paper's numbers"),
            RESULTS,
        ),
        of_workflow=True,
    ),
    "cell": Command(
        "write the results of one cell",
        run_cell,
        (
            option("--settings", required=True, metavar="JSON", help="settings of the cell"),
            EPISODES,
            *(option(f"--{name}", help=_SOURCES[name], **FILES) for name in ("capability", "auxiliary")),
            option(
                "--output",
                type=Path,
                required=True,
                help="a .csv file; the .md and .tex files get the same name",
            ),
        ),
        of_workflow=True,
    ),
    "films": Command(
        "write the pages with films and the figure of failures",
        run_films,
        (
            option("--settings", required=True, metavar="JSON", help="settings of the films"),
            EPISODES,
            RESULTS,
        ),
        of_workflow=True,
    ),
    "summary": Command(
        "write the summary of the study in words",
        run_summary,
        (
            option(
                "--analysis", type=Path, nargs="+", required=True, help="the tables' analysis/*.json files"
            ),
            RESULTS,
        ),
        of_workflow=True,
    ),
    "study-config": Command(
        "write the configuration with all default values",
        run_study_config,
        (
            option("--settings", required=True, metavar="JSON", help="the configuration"),
            RESULTS,
        ),
        of_workflow=True,
    ),
    "published": Command(
        "analyse the paper's numbers, without any run of our own",
        run_published,
        (
            option("--published", type=Path, required=True, help="folder with the paper's numbers"),
            option(
                "--scores",
                type=Path,
                nargs="*",
                default=[],
                help="CSV file with question scores: model, score",
            ),
            option("--output", type=Path, required=True, help="the folder that is written"),
        ),
        of_workflow=True,
    ),
}
