"""What the Snakefile calls before it has any rule."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm4vla.config.config import load_config
from vlm4vla.core import registry
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.gpus import check_gpus
from vlm4vla.workflow.preflight import noted, open_study
from vlm4vla.workflow.requirements import asked
from vlm4vla.workflow.run_lock import claim, release_stale_lock
from vlm4vla.workflow.simulators import check_simulators_installed
from vlm4vla.workflow.slurm_job import restore_nodes


def command_line() -> argparse.Namespace | None:
    """Snakemake's arguments, None without its command; Snakemake gives them to no Snakefile."""
    from snakemake.cli import parse_args

    if Path(sys.argv[0]).name not in ("snakemake", "__main__.py"):
        return None
    with contextlib.redirect_stderr(io.StringIO()):  # which profile is used has been told once
        return parse_args(sys.argv[1:])[1]


def is_job(arguments: argparse.Namespace | None) -> bool:
    """Whether this Snakemake is a job of another: a cluster's job is a Snakemake that runs one rule."""
    from snakemake_interface_executor_plugins.settings import ExecMode

    return arguments is not None and arguments.mode != ExecMode.DEFAULT


def is_dry_run() -> bool:
    """Whether Snakemake was asked only to say what it would do."""
    return any(word in sys.argv for word in ("-n", "--dry-run", "--dryrun", "--lint", "--report"))


def is_local(arguments: argparse.Namespace | None) -> bool:
    """Whether jobs run on this machine, and not on a cluster's."""
    return arguments is not None and arguments.executor in (None, "local", "dryrun")


def offered_gpus(arguments: argparse.Namespace | None) -> int | None:
    """The number in `--resources gpu=N`, None without it."""
    given = arguments.resources if arguments is not None else {}
    return int(given["gpu"].value) if "gpu" in given else None


def begin(config: Mapping[str, Any]) -> Study:
    """Check everything and return the study; a user's mistake ends Snakemake with its lines and status 1.

    A job's run has been checked where it was started. The job's machine may see no process of that run, so it
    must not take the run's lock for a stale one.
    """
    arguments = command_line()
    try:
        if is_job(arguments):
            study = Study(load_config(config))
        else:
            targets = list(map(str, arguments.targets)) if arguments is not None else []
            study = open_study(config, targets, planned=is_dry_run())
            needed = asked(study, targets)
            with noted(is_dry_run()):
                check_simulators_installed(study.config, needed.rollouts)
            if is_local(arguments):
                with noted(is_dry_run()):
                    check_gpus(needed.gpus, offered_gpus(arguments))
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # Snakemake answers any exception, SystemExit too, with a traceback of the Snakefile.
        os._exit(1)
    registry.share()  # jobs run them where they need them
    # Jobs find the package's command although nobody has activated the environment.
    if shutil.which("vlm4vla") is None:
        os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if is_job(arguments):
        restore_nodes()
        return study
    if release_stale_lock(Path.cwd()):
        print("The last run was killed: its lock is removed, and what it left is resumed.", file=sys.stderr)
    claim(Path.cwd())
    return study
