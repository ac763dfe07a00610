"""The checks that the Snakefile runs before it defines its rules, and patterns for its wildcards."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vlm4vla.config.config import load_config
from vlm4vla.config.layer_files import Layer, named
from vlm4vla.core import registry
from vlm4vla.core.errors import UserError
from vlm4vla.core.successor import OF_WORKFLOW
from vlm4vla.study.study import Study
from vlm4vla.training.components.trackers import check_trackers
from vlm4vla.workflow import kept_outputs, run_lock
from vlm4vla.workflow.config_layers import read_all, with_overrides
from vlm4vla.workflow.preflight import check_gpus, check_simulators, errors_as_notes, open_study
from vlm4vla.workflow.requirements import requirements_of
from vlm4vla.workflow.snakemake_workarounds import (
    collect_rarely,
    format_commands_once,
    remember_parameters,
    restore_slurm_nodes,
    share_wildcards,
)
from vlm4vla.workflow.targets import is_published

# Options of Snakemake that run no job, as its parser calls them.
INFORMING = (
    "dryrun",
    "lint",
    "report",
    "reporter",
    "summary",
    "detailed_summary",
    "dag",
    "rulegraph",
    "filegraph",
    "d3dag",
    "list_rules",
    "list_target_rules",
    "list_changes",
    "list_input_changes",
    "list_params_changes",
    "list_untracked",
    "list_conda_envs",
    "containerize",
    "print_compilation",
    "archive",
    "generate_unit_tests",
)


def command_line() -> argparse.Namespace | None:
    """The arguments of the `snakemake` command; None if this process is not that command.

    Snakemake does not pass its arguments to the Snakefile.
    """
    from snakemake.cli import parse_args

    if Path(sys.argv[0]).name not in ("snakemake", "__main__.py"):
        return None
    with contextlib.redirect_stderr(io.StringIO()):  # Snakemake has already printed the profile
        return parse_args(sys.argv[1:])[1]


def is_job(arguments: argparse.Namespace | None) -> bool:
    """Whether this Snakemake runs one job for another Snakemake, as on a cluster."""
    from snakemake_interface_executor_plugins.settings import ExecMode

    return arguments is not None and arguments.mode != ExecMode.DEFAULT


def runs_no_job(arguments: argparse.Namespace | None) -> bool:
    """Whether Snakemake only shows something, as in a dry run, so that it needs no lock on the results."""
    return arguments is not None and any(getattr(arguments, name, None) for name in INFORMING)


def is_local(arguments: argparse.Namespace | None) -> bool:
    """Whether jobs run on this machine and not on a cluster."""
    return arguments is not None and arguments.executor in (None, "local", "dryrun")


def offered_gpus(arguments: argparse.Namespace | None) -> int | None:
    """N of the option `--resources gpu=N`; None without this option."""
    resources = arguments.resources if arguments is not None else {}
    return int(resources["gpu"].value) if "gpu" in resources else None


def any_of(names: Iterable[str]) -> str:
    """A regular expression for a wildcard that is one of `names`; `none` if there are no names."""
    return "|".join(map(re.escape, names)) or "none"


def any_model_of(pairs: Iterable[tuple[str, str]]) -> str:
    """A regular expression for the wildcard `vlm` in the path of a rollout: (model, benchmark) of `pairs`.

    The constraint of one wildcard cannot depend on another one, so this one looks ahead in the path.
    """
    found = [rf"{re.escape(model)}(?=/[^/]+/[^/]+/{re.escape(benchmark)}/)" for model, benchmark in pairs]
    return "|".join(found) or "none"


def _layers(arguments: argparse.Namespace | None) -> list[tuple[str, Layer]]:
    """config.yaml and what overrides it, for the messages; empty if the files cannot be read any more."""
    try:
        return with_overrides(read_all(sys.argv[1:]), _overrides(arguments))
    except UserError:
        return []


def _overrides(arguments: argparse.Namespace | None) -> dict[str, Any]:
    """The values of `--config`, as Snakemake reads them."""
    from snakemake.cli import parse_config

    return parse_config(arguments.config) if arguments is not None and arguments.config else {}


def begin(config: Mapping[str, Any]) -> Study:
    """Check configuration and targets, and return the study.

    If the user made an error, print its lines and exit with status 1. A job of a run checks nothing, because
    the run has been checked where it started. The job must not remove the run's lock either: on another
    machine the process of the run is not visible, so the lock would look stale.
    """
    arguments = command_line()
    try:
        if is_job(arguments):
            study = Study(load_config(config))
        else:
            targets = list(map(str, arguments.targets)) if arguments is not None else []
            planned = runs_no_job(arguments) or (arguments is not None and arguments.unlock)
            study = open_study(config, targets, planned=planned)
            requirements = requirements_of(study, targets)
            with errors_as_notes(planned):
                check_simulators(study.config, requirements.rollouts)
            if is_local(arguments):
                with errors_as_notes(planned):
                    check_trackers(sorted(requirements.trackers))
                    check_gpus(requirements.gpus, offered_gpus(arguments))
            if arguments is not None and not runs_no_job(arguments):
                own = targets and all(is_published(study, target) for target in targets)
                run_lock.hold(Path(study.published_layout.root if own else study.root), sys.argv[1:])
                if run_lock.release_stale_lock(Path.cwd()):
                    print(
                        "The last run was killed: its lock is removed, and unfinished jobs resume.",
                        file=sys.stderr,
                    )
                run_lock.record_lock_owner(Path.cwd())
                kept_outputs.put_back_all()
    except UserError as error:
        layers = _layers(arguments)
        for line in str(error).splitlines():
            print(f"error: {named(line, layers)}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # For any exception, also SystemExit, Snakemake would print a traceback of the Snakefile.
        os._exit(1)
    if arguments is not None:
        from snakemake.jobs import Job

        kept_outputs.install(Job)
        remember_parameters()
        share_wildcards()
        format_commands_once(Job)
        collect_rarely()
        os.environ[OF_WORKFLOW] = "1"
    registry.share()  # a job runs the user's extension files if it needs them
    # Jobs find the package's command even if the environment is not activated.
    if shutil.which("vlm4vla") is None:
        os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if is_job(arguments):
        restore_slurm_nodes()
    return study
