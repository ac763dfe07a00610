"""What a Slurm job's processes know of their job."""

from __future__ import annotations

import os
import subprocess

JOB, NODES = "SLURM_JOB_ID", "SLURM_JOB_NODELIST"


def restore_nodes() -> None:
    """Ask Slurm for the nodes of this job where the environment has lost them; nothing outside of a job.

    Snakemake's plugin takes most of Slurm's variables from a job's environment. A training on several nodes
    is started by this job and needs their names.
    """
    job = os.environ.get(JOB)
    if job is None or NODES in os.environ:
        return
    command = ["squeue", "--noheader", "--format=%N", f"--jobs={job}"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return
    if told:
        os.environ[NODES] = told
