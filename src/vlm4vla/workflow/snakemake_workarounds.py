"""Workarounds for two behaviours of Snakemake: its limit of jobs, and the variables that it removes."""

from __future__ import annotations

import os
import subprocess
from typing import Any

DEFAULT_JOB_LIMIT = (100, 1.0)  # jobs, seconds: Snakemake's default of --max-jobs-per-timespan
JOB, NODES = "SLURM_JOB_ID", "SLURM_JOB_NODELIST"


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
