"""Sub-commands that are not stages: they write tables and the report, or work with finished results.

Each command imports its heavy modules when it runs.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm4vla.config import config
from vlm4vla.config.stages import CellSettings, FilmsSettings, TableSettings, read_settings
from vlm4vla.conventions.benchmarks import BENCHMARKS
from vlm4vla.conventions.columns.page import page
from vlm4vla.core.artefacts import write_json, write_text
from vlm4vla.core.imports import load
from vlm4vla.core.output_lock import alone
from vlm4vla.workflow.estimate.assumptions import MFU
from vlm4vla.workflow.estimate.rates import FILE as RATES


def option(*names: str, **keywords: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The arguments of one `ArgumentParser.add_argument` call."""
    return names, keywords


@dataclass(frozen=True)
class Command:
    """A sub-command that is not a stage.

    `run`: takes the parsed arguments. `arguments`: made by `option`. `timed`: print the time that the command
    took, which is not wanted after output for programs. `of_workflow`: a rule runs the command, so `--help`
    lists it with the stages. `resumes`: after an interruption, the command goes on from what it has saved.
    """

    help: str
    run: Callable[[argparse.Namespace], None]
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
    timed: bool = True
    of_workflow: bool = False
    resumes: bool = False


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


def run_cell(arguments: argparse.Namespace) -> None:
    """Write one cell."""
    importlib.import_module("vlm4vla.stages.cell").run(
        read_settings(arguments.settings, CellSettings),
        episodes=arguments.episodes,
        capability=arguments.capability,
        auxiliary=arguments.auxiliary,
        output=arguments.output,
    )


def run_schema(arguments: argparse.Namespace) -> None:
    """Write the JSON schema of config.yaml."""
    write_json(arguments.output, config.schema())


def run_columns(arguments: argparse.Namespace) -> None:
    """Write docs/results.md."""
    write_text(arguments.output, page())


def run_published(arguments: argparse.Namespace) -> None:
    """Analyse the paper's numbers."""
    stage = importlib.import_module("vlm4vla.stages.published")
    stage.run(arguments.published, arguments.scores[0] if arguments.scores else None, arguments.output)


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


def run_compare(arguments: argparse.Namespace) -> None:
    """Compare two results folders."""
    stage = importlib.import_module("vlm4vla.report.comparison.stage")
    stage.run(arguments.first, arguments.second, arguments.output)


def run_judge(arguments: argparse.Namespace) -> None:
    """Judge a published table."""
    importlib.import_module("vlm4vla.report.judged.stage").run(arguments.table, arguments.output)


def run_estimate(arguments: argparse.Namespace) -> None:
    """Estimate the cost of targets."""
    importlib.import_module("vlm4vla.workflow.estimate.stage").run(
        arguments.targets,
        arguments.configfile,
        cores=arguments.cores,
        gpus=arguments.gpus,
        gpu_model=arguments.gpu_model,
        gpus_a_job=arguments.gpus_a_job,
        mfu=arguments.mfu,
        rates=arguments.rates,
        as_json=arguments.json,
    )


def run_films(arguments: argparse.Namespace) -> None:
    """Write the report's pages with films."""
    importlib.import_module("vlm4vla.stages.films").run(
        read_settings(arguments.settings, FilmsSettings),
        episodes=arguments.episodes,
        output=arguments.output,
    )


def run_summary(arguments: argparse.Namespace) -> None:
    """Write the study's summary."""
    summary = importlib.import_module("vlm4vla.stages.summary")
    summary.run(analysis=arguments.analysis, output=arguments.output)


def run_study_config(arguments: argparse.Namespace) -> None:
    """Write the study's configuration."""
    settings = read_settings(arguments.settings, config.Config)
    importlib.import_module("vlm4vla.stages.study_config").run(settings, output=arguments.output)


def run_convert(arguments: argparse.Namespace) -> None:
    """Convert a raw dataset to LeRobot's format."""
    with alone(arguments.output):
        importlib.import_module("vlm4vla.data.converters.convert").convert(
            arguments.kind,
            arguments.source,
            arguments.output,
            pictures=arguments.pictures,
            leave_out_blank=arguments.leave_out_blank,
        )


def run_libero_demonstrations(arguments: argparse.Namespace) -> None:
    """Record scripted demonstrations on the real LIBERO simulator."""
    solved = importlib.import_module("vlm4vla.evaluation.simulators.libero_demonstrations").record_dataset(
        arguments.output,
        tasks=arguments.tasks,
        states=arguments.states,
        size=arguments.size,
        render=arguments.render,
    )
    print(f"{arguments.output}: {solved} of {len(arguments.tasks) * len(arguments.states)} episodes solved")


_FILES = {"type": Path, "nargs": "*", "default": []}
_OUTPUT = option("--output", type=Path, required=True)


COMMANDS = {
    "table": Command(
        "write a table, its figures and their numbers",
        run_table,
        (
            option("--settings", required=True, help="settings of the table, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            *(option(f"--{name}", **_FILES) for name in ("capability", "curves", "auxiliary", "fast")),
            option("--published", type=Path, required=True),
            _OUTPUT,
        ),
        of_workflow=True,
    ),
    "cell": Command(
        "write the results of one cell",
        run_cell,
        (
            option("--settings", required=True, help="settings of the cell, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            *(option(f"--{name}", **_FILES) for name in ("capability", "auxiliary")),
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
            option("--settings", required=True, help="settings of the films, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            option("--output", type=Path, required=True, help="the study's results folder"),
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
            option("--output", type=Path, required=True, help="the study's results folder"),
        ),
        of_workflow=True,
    ),
    "study-config": Command(
        "write the configuration with all default values",
        run_study_config,
        (
            option("--settings", required=True, help="the configuration, as JSON"),
            option("--output", type=Path, required=True, help="the study's results folder"),
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
            _OUTPUT,
        ),
        of_workflow=True,
    ),
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
    "judge": Command(
        "judge the numbers of any published table: what survives, what is impossible (docs/judge.md)",
        run_judge,
        (
            option("table", type=Path, help="a .csv file, one printed number a line"),
            option("--output", type=Path, help="a folder for the table and a figure (default: print only)"),
        ),
        timed=False,
    ),
    "convert": Command(
        "convert raw CALVIN or LIBERO demonstrations to a LeRobot v3.0 dataset; resumes if interrupted",
        run_convert,
        (
            option("kind", choices=[each.raw_format for each in BENCHMARKS.values() if each.raw_format]),
            option(
                "source",
                type=Path,
                help="CALVIN: folder of a split; LIBERO: an .hdf5 file or a folder of them",
            ),
            option(
                "--pictures",
                choices=("video", "png"),
                default="video",
                help="format of the images (default: %(default)s)",
            ),
            option(
                "--leave-out-blank",
                action="store_true",
                help="leave out episodes without an instruction, instead of refusing the dataset",
            ),
            _OUTPUT,
        ),
        resumes=True,
    ),
    "libero-demonstrations": Command(
        "record scripted demonstrations on the real LIBERO simulator (docs/simulators.md)",
        run_libero_demonstrations,
        (
            option(
                "--tasks",
                type=int,
                nargs="+",
                default=[0, 1, 7],
                help="numbers of LIBERO-10 tasks: 0, 1 or 7",
            ),
            option(
                "--states",
                type=int,
                nargs="+",
                default=[*range(50)],
                help="numbers of initial states, 0 to 49",
            ),
            option("--size", type=int, default=224, help="height and width of the images, in pixels"),
            option("--render", choices=("cpu", "gpu"), default="cpu"),
            _OUTPUT,
        ),
    ),
    "estimate": Command(
        "estimate the cost of targets before a run: jobs, GPU-hours, disk space, time on a cluster",
        run_estimate,
        (
            option("targets", nargs="*", metavar="TARGET", help="targets of Snakemake (default: all_tables)"),
            option(
                "--configfile",
                type=Path,
                nargs="+",
                default=[],
                help="files that override config.yaml, in order",
            ),
            option(
                "--cores",
                type=int,
                help="CPU cores (default: 16 per GPU; without GPUs, those of this machine)",
            ),
            option("--gpus", type=int, default=0, help="number of GPUs (default: %(default)s)"),
            option("--gpu-model", help="model of the GPUs, such as h100"),
            option(
                "--gpus-a-job",
                type=int,
                default=8,
                help="GPUs per training, if the settings of the training do not say (default: %(default)s)",
            ),
            option(
                "--mfu",
                type=float,
                default=MFU,
                help="model FLOPs utilisation: fraction of the GPUs' peak that a training reaches",
            ),
            option(
                "--rates",
                type=Path,
                default=RATES,
                help="file with measured rates (default: %(default)s)",
            ),
            option("--json", action="store_true", help="print JSON"),
        ),
        timed=False,
    ),
    "schema": Command("write the JSON schema of config.yaml", run_schema, (_OUTPUT,)),
    "columns": Command("write the descriptions of all columns and keys of results", run_columns, (_OUTPUT,)),
}
