"""Workarounds for three behaviours of Snakemake: stale locks, its limit of jobs, and Slurm's variables."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import write_text
from vlm4vla.core.errors import UserError

LOCK_OWNER = Path(".snakemake") / "machine"  # the file that names the machine whose run has the lock
DEFAULT_JOB_LIMIT = (100, 1.0)  # jobs, seconds: Snakemake's default of --max-jobs-per-timespan
JOB, NODES = "SLURM_JOB_ID", "SLURM_JOB_NODELIST"


def remove_stale_lock(folder: Path) -> bool:
    """Remove the lock that a killed Snakemake left in `folder`. Return whether a lock was removed.

    Snakemake's lock does not say whether its owner still runs, so Snakemake asks the user for `--unlock`. If
    several machines share the folder, this machine sees its own processes only. It therefore keeps the lock
    of another machine.
    """
    locks = _locks(folder)
    owner = folder / LOCK_OWNER
    owned_elsewhere = owner.exists() and _text(owner) != platform.node()
    if not locks or owned_elsewhere or _snakemake_runs_in(folder):
        return False
    for lock in locks:
        lock.unlink(missing_ok=True)
    return True


def record_lock_owner(folder: Path) -> None:
    """Record that the next lock in `folder` belongs to this machine. Do nothing if there is a lock.

    Raises UserError if Snakemake's folder cannot be written.
    """
    try:
        if not _locks(folder):
            write_text(folder / LOCK_OWNER, f"{platform.node()}\n")
    except OSError as error:
        raise UserError(
            f"{folder / LOCK_OWNER.parent}: cannot be written ({error.strerror}): change its permissions, or "
            "run in a folder of your own"
        ) from None


def _text(path: Path) -> str | None:
    """The line of a file, or None if it cannot be read."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _snakemake_runs_in(folder: Path) -> bool:
    """Whether another Snakemake runs in `folder` on this machine."""
    import psutil

    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        is_snakemake = any(Path(word).name == "snakemake" for word in words[:3]) or "snakemake" in words[1:3]
        if process.info["pid"] not in own and is_snakemake and process.info["cwd"] == str(folder.resolve()):
            return True
    return False


def _locks(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list((folder / ".snakemake" / "locks").glob("*.lock"))
    return []


def lift_default_job_limit(scheduler: Any) -> None:
    """Remove Snakemake's default limit of jobs per second. A limit that the user wrote remains.

    `scheduler`: the scheduler of the run, before it has selected jobs. With a limit, Snakemake 9.27 sets a
    timer after each selection of jobs, and each timer starts another selection. Each job that ends adds such
    an endless chain of selections: after a hundred jobs they used a third of a core. Without a limit,
    Snakemake selects jobs when a job ends.
    """
    limit = scheduler.workflow.scheduling_settings.max_jobs_per_timespan
    if limit is not None and (limit.max_jobs, float(limit.timespan)) == DEFAULT_JOB_LIMIT:
        scheduler.job_rate_limiter = None


def restore_slurm_nodes() -> None:
    """Set the variable with the nodes of this Slurm job if it is missing. Do nothing outside a Slurm job.

    Snakemake's Slurm plugin removes most of Slurm's variables from the environment of a job. A training on
    several nodes needs the names of the nodes, which `squeue` still knows.
    """
    job = os.environ.get(JOB)
    if job is None or NODES in os.environ:
        return
    command = ["squeue", "--noheader", "--format=%N", f"--jobs={job}"]
    try:
        nodes = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return
    if nodes:
        os.environ[NODES] = nodes
