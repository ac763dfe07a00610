"""Sub-commands beside the stages: what writes tables, and tools on what stages have made.

Heavy modules are imported by the command that runs.
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
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.imports import load
from vlm4vla.core.output_lock import alone
from vlm4vla.workflow.estimate.assumptions import MFU
from vlm4vla.workflow.estimate.rates import FILE as RATES


def option(*names: str, **how: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """An argument of a command, as `add_argument` takes it."""
    return names, how


@dataclass(frozen=True)
class Command:
    """A sub-command beside the stages. `run` takes the parsed arguments; `timed`: its end is told, with the
    seconds it took, which would spoil an output that programs read."""

    help: str
    run: Callable[[argparse.Namespace], None]
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
    timed: bool = True


def run_table(arguments: argparse.Namespace) -> None:
    """Write one table."""
    settings = read_settings(arguments.settings, TableSettings)
    load("vlm4vla.stages.table")[0].run(
        settings.table,
        settings.model_dump(mode="json"),
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


def run_published(arguments: argparse.Namespace) -> None:
    """Analyse the paper's numbers alone."""
    stage = importlib.import_module("vlm4vla.stages.published")
    stage.run(arguments.published, arguments.scores[0] if arguments.scores else None, arguments.output)


def run_trace(arguments: argparse.Namespace) -> None:
    """Print what one number of a table was made from."""
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


def run_compare(arguments: argparse.Namespace) -> None:
    """Compare two results folders."""
    stage = importlib.import_module("vlm4vla.report.comparison.stage")
    stage.run(arguments.first, arguments.second, arguments.output)


def run_estimate(arguments: argparse.Namespace) -> None:
    """Say what targets will cost."""
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
    """Write the films' share of the report."""
    importlib.import_module("vlm4vla.stages.films").run(
        read_settings(arguments.settings, FilmsSettings),
        episodes=arguments.episodes,
        output=arguments.output,
    )


def run_summary(arguments: argparse.Namespace) -> None:
    """Write the summary."""
    summary = importlib.import_module("vlm4vla.stages.summary")
    summary.run(analysis=arguments.analysis, output=arguments.output)


def run_study_config(arguments: argparse.Namespace) -> None:
    """Write the configuration."""
    settings = read_settings(arguments.settings, config.Config)
    importlib.import_module("vlm4vla.stages.study_config").run(settings, output=arguments.output)


def run_convert(arguments: argparse.Namespace) -> None:
    """Convert a raw data set."""
    with alone(arguments.output):
        importlib.import_module("vlm4vla.data.converters.convert").convert(
            arguments.kind, arguments.source, arguments.output, pictures=arguments.pictures
        )


def run_libero_demonstrations(arguments: argparse.Namespace) -> None:
    """Record scripted demonstrations on the real LIBERO simulator."""
    solved = importlib.import_module("vlm4vla.evaluation.simulators.libero_demonstrations").collect(
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
        "write a table, its figures and the numbers behind both",
        run_table,
        (
            option("--settings", required=True, help="the table's settings, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            *(option(f"--{name}", **_FILES) for name in ("capability", "curves", "auxiliary", "fast")),
            option("--published", type=Path, required=True),
            _OUTPUT,
        ),
    ),
    "cell": Command(
        "write one cell as a small table",
        run_cell,
        (
            option("--settings", required=True, help="the cell's settings, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            *(option(f"--{name}", **_FILES) for name in ("capability", "auxiliary")),
            option("--output", type=Path, required=True, help="a .csv file; .md and .tex go beside it"),
        ),
    ),
    "films": Command(
        "write the films' pages and the strips of failures",
        run_films,
        (
            option("--settings", required=True, help="whose films, as JSON"),
            option("--episodes", type=Path, nargs="+", required=True),
            option("--output", type=Path, required=True, help="the study's results folder"),
        ),
    ),
    "summary": Command(
        "write what was run and found, in words",
        run_summary,
        (
            option("--analysis", type=Path, nargs="+", required=True, help="analysis/*.json of tables"),
            option("--output", type=Path, required=True, help="the study's results folder"),
        ),
    ),
    "study-config": Command(
        "write the configuration with every default",
        run_study_config,
        (
            option("--settings", required=True, help="the configuration, as JSON"),
            option("--output", type=Path, required=True, help="the study's results folder"),
        ),
    ),
    "published": Command(
        "analyse the paper's numbers alone",
        run_published,
        (
            option("--published", type=Path, required=True, help="the folder of the paper's numbers"),
            option("--scores", type=Path, nargs="*", default=[], help="a CSV model,score of question scores"),
            _OUTPUT,
        ),
    ),
    "trace": Command(
        "follow one number of a table back to records, checkpoint, settings, commit and inputs",
        run_trace,
        (
            option("table", help="such as main"),
            option("row", help="model[/auxiliary][/variant][/benchmark]"),
            option(
                "column",
                help="metric or benchmark:metric; for another number than the value add :ci_low, "
                "p_value, difference, ...",
            ),
            option("--results", type=Path, help="a study's folder, such as results/embedded"),
            option("--study", help="a study below results/, in place of --results"),
            option("--json", action="store_true", help="for programs"),
        ),
        timed=False,
    ),
    "pack": Command(
        "pack a study's results for publication, as a Workflow Run RO-Crate",
        run_pack,
        (
            option("results", type=Path, help="a study's folder, such as results/embedded"),
            option("--output", type=Path, required=True, help="a .zip file"),
            option("--weights", action="store_true", help="with the weights of backbones and policies"),
            option(
                "--config",
                type=Path,
                nargs="+",
                default=[],
                help="config.yaml and layers over it, if the study was not made with those of its scale",
            ),
            option("--licence", default="Apache-2.0", help="SPDX identifier (default: %(default)s)"),
        ),
        timed=False,
    ),
    "check": Command(
        "verify every file of a packed study",
        run_check,
        (option("packed", type=Path, help="the zip file, or the folder it was unpacked to"),),
        timed=False,
    ),
    "compare": Command(
        "compare two studies' results cell by cell, with tests",
        run_compare,
        (
            option("first", type=Path, help="a study's folder, such as results/embedded"),
            option("second", type=Path, help="another's"),
            option(
                "--output", type=Path, help="a .md or .csv file; both are written. Without: Markdown here"
            ),
        ),
        timed=False,
    ),
    "convert": Command(
        "write raw CALVIN or LIBERO demonstrations as a LeRobot v3.0 data set; goes on where it was stopped",
        run_convert,
        (
            option("kind", choices=("calvin", "libero")),
            option("source", type=Path, help="CALVIN: a split's folder; LIBERO: .hdf5 files' folder, or one"),
            option("--pictures", choices=("video", "png"), default="video", help="default: %(default)s"),
            _OUTPUT,
        ),
    ),
    "libero-demonstrations": Command(
        "record scripted demonstrations on the real LIBERO simulator (docs/simulators.md)",
        run_libero_demonstrations,
        (
            option("--tasks", type=int, nargs="+", default=[0, 1, 7], help="of LIBERO-10: 0, 1 or 7"),
            option("--states", type=int, nargs="+", default=[*range(50)], help="initial states, 0 to 49"),
            option("--size", type=int, default=224, help="height and width of the pictures"),
            option("--render", choices=("cpu", "gpu"), default="cpu"),
            _OUTPUT,
        ),
    ),
    "estimate": Command(
        "say what targets will cost, before it is spent: jobs, GPU-hours, disk, time on a cluster",
        run_estimate,
        (
            option("targets", nargs="*", metavar="TARGET", help="as Snakemake takes them; none: all_tables"),
            option(
                "--configfile", type=Path, nargs="+", default=[], help="layers over config.yaml, in order"
            ),
            option("--cores", type=int, help="CPU cores (default: 16 a GPU; without GPUs, this machine's)"),
            option("--gpus", type=int, default=0, help="GPUs (default: %(default)s)"),
            option("--gpu-model", help="such as h100"),
            option(
                "--gpus-a-job",
                type=int,
                default=8,
                help="GPUs of a training whose settings state none (default: %(default)s)",
            ),
            option("--mfu", type=float, default=MFU, help="share of the GPUs' peak that training uses"),
            option(
                "--rates",
                type=Path,
                default=RATES,
                help="measured rates (default: %(default)s)",
            ),
            option("--json", action="store_true", help="for programs"),
        ),
        timed=False,
    ),
    "schema": Command("write the JSON schema of config.yaml", run_schema, (_OUTPUT,)),
}
