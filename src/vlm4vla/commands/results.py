"""Commands that read finished results: where numbers come from, what they show, and where they go."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from vlm4vla.commands.command import Command, option
from vlm4vla.core.artefacts import together


def run_trace(arguments: argparse.Namespace) -> None:
    """Print the sources of one number of a table."""
    folder = importlib.import_module("vlm4vla.study.results_folder")
    results = folder.open_results(arguments.results, arguments.study)
    importlib.import_module("vlm4vla.provenance.trace").run(
        results, arguments.table, arguments.row, arguments.column, arguments.json
    )


def run_pack(arguments: argparse.Namespace) -> None:
    """Pack a results folder for publication."""
    importlib.import_module("vlm4vla.provenance.pack").run(
        arguments.results, arguments.output, arguments.weights, arguments.config, arguments.licence
    )


def run_check(arguments: argparse.Namespace) -> None:
    """Verify a packed study."""
    importlib.import_module("vlm4vla.provenance.check").run(arguments.packed)


def run_push(arguments: argparse.Namespace) -> None:
    """Send a finished folder to the Hugging Face hub."""
    importlib.import_module("vlm4vla.provenance.push").run(
        arguments.folder,
        arguments.name,
        public=arguments.public,
        dry_run=arguments.dry_run,
        licence=arguments.licence,
    )


@together()
def run_compare(arguments: argparse.Namespace) -> None:
    """Compare two results folders."""
    stage = importlib.import_module("vlm4vla.report.comparison.stage")
    stage.run(arguments.first, arguments.second, arguments.output)


@together()
def run_dashboard(arguments: argparse.Namespace) -> None:
    """Write the page that lists and compares the studies of a folder."""
    importlib.import_module("vlm4vla.report.dashboard.stage").run(
        arguments.results, arguments.output, arguments.compared
    )


def run_judge(arguments: argparse.Namespace) -> None:
    """Judge a published table."""
    importlib.import_module("vlm4vla.report.judged.stage").run(arguments.table, arguments.output)


RESULTS = {
    "trace": Command(
        "show where a number of a table comes from: its episodes, checkpoint, settings, commit and inputs",
        run_trace,
        (
            option("table", help="name of the table, such as main"),
            option("row", help="model[/auxiliary][/variant][/benchmark]"),
            option(
                "column",
                help="metric or benchmark:metric; add :ci_low, :p_value, :difference, ... for another number "
                "than the value",
            ),
            option("--results", type=Path, help="a study's folder, such as results/embedded"),
            option("--study", help="a study in results/, instead of --results"),
            option("--json", action="store_true", help="print JSON"),
        ),
        timed=False,
    ),
    "pack": Command(
        "pack the results of a study for publication, as a Workflow Run RO-Crate",
        run_pack,
        (
            option("results", type=Path, help="a study's folder, such as results/embedded"),
            option("--output", type=Path, required=True, help="path of the .zip file"),
            option("--weights", action="store_true", help="include the weights of backbones and policies"),
            option(
                "--config",
                type=Path,
                nargs="+",
                default=[],
                help="config.yaml and the files that override it, if not those of the study's scale",
            ),
            option(
                "--licence",
                default="Apache-2.0",
                help="SPDX identifier of the licence (default: %(default)s)",
            ),
        ),
        timed=False,
    ),
    "check": Command(
        "verify every file of a packed study",
        run_check,
        (option("packed", type=Path, help="the .zip file, or the folder with its contents"),),
        timed=False,
    ),
    "push": Command(
        "send a policy, a demonstration set or a packed study to the Hugging Face hub (docs/use-a-policy.md)",
        run_push,
        (
            option("folder", type=Path, help="the folder, or the .zip file of a packed study"),
            option("name", help="the repository, such as OWNER/NAME; it is made if it does not exist"),
            option("--public", action="store_true", help="make it public (default: private)"),
            option(
                "--dry-run",
                action="store_true",
                help="print each file with its size, and send nothing",
            ),
            option(
                "--licence",
                help="licence for the card, as the hub names it, such as apache-2.0 (default: that of the "
                "weights or data)",
            ),
        ),
        timed=False,
        resumes=True,
    ),
    "compare": Command(
        "compare the results of two studies cell by cell, with significance tests",
        run_compare,
        (
            option("first", type=Path, help="a study's folder, such as results/embedded"),
            option("second", type=Path, help="the folder of another study"),
            option(
                "--output", type=Path, help="a .md or .csv file; both are written (default: print Markdown)"
            ),
        ),
        timed=False,
    ),
    "dashboard": Command(
        "write a page that lists the studies of a folder, compares them and opens their reports",
        run_dashboard,
        (
            option("results", type=Path, help="a folder with results of studies, such as results"),
            option(
                "--output",
                type=Path,
                default=Path("dashboard.html"),
                help="an .html file (default: %(default)s)",
            ),
            option(
                "--compared",
                type=int,
                default=12,
                help="the number of studies that are compared in pairs, the newest first (default: "
                "%(default)s)",
            ),
        ),
        timed=False,
    ),
    "judge": Command(
        "judge the numbers of any published table: what survives, what is impossible (docs/judge.md)",
        run_judge,
        (
            option("table", type=Path, help="a .csv file, one printed number a line"),
            option("--output", type=Path, help="a folder for the table and a figure (default: print only)"),
        ),
        timed=False,
    ),
}
