"""Commands about the configuration and the cost of a study, before it runs."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from vlm4vla.commands.command import OUTPUT, Command, option
from vlm4vla.config import config
from vlm4vla.conventions.columns.page import page
from vlm4vla.core.artefacts import write_json, write_text
from vlm4vla.workflow.estimate.assumptions import MFU
from vlm4vla.workflow.estimate.rates import FILE as RATES


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


def run_schema(arguments: argparse.Namespace) -> None:
    """Write the JSON schema of config.yaml."""
    write_json(arguments.output, config.schema())


def run_columns(arguments: argparse.Namespace) -> None:
    """Write docs/results.md."""
    write_text(arguments.output, page())


PLANNING = {
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
            option("--gpu-model", metavar="MODEL", help="model of the GPUs, such as h100"),
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
                help="model FLOPs utilisation: fraction of the GPUs' peak that a training reaches (default: "
                "%(default)s)",
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
    "schema": Command(
        "write the JSON schema of config.yaml, for editors and for `make schema`", run_schema, (OUTPUT,)
    ),
    "columns": Command(
        "write docs/results.md: the descriptions of all columns and keys of results", run_columns, (OUTPUT,)
    ),
}
