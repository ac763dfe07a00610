"""Workarounds for Snakemake: its limit of jobs, variables that it removes, and work that it repeats."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable, Mapping
from functools import lru_cache
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


def collect_rarely() -> None:
    """Let Python search for unreachable objects after 200,000 new objects, not after 700.

    Snakemake keeps hundreds of objects for each job. They stay until it ends, and Python's default searches
    all of them again and again: in the dry run of 4,000 jobs this took a quarter of the processor time.
    """
    gc.freeze()
    gc.set_threshold(200_000, *gc.get_threshold()[1:])


def remember_parameters() -> None:
    """Let Snakemake inspect each function of a rule once, and not three times for each job.

    Snakemake 9.27 asks `inspect.signature` for the parameters of a function whenever it calls the function.
    """
    import snakemake.common
    import snakemake.rules

    found = snakemake.common.get_function_params
    if hasattr(found, "cache_info"):
        return
    remembered = lru_cache(maxsize=4096)(found)

    def get_function_params(function: Callable[..., Any]) -> Mapping[str, Any]:
        try:
            return remembered(function)
        except TypeError:  # a callable object without a hash
            return found(function)

    get_function_params.cache_info = remembered.cache_info
    snakemake.common.get_function_params = get_function_params
    snakemake.rules.get_function_params = get_function_params


def share_wildcards() -> None:
    """Let Snakemake give all functions of a job one object with the job's wildcards.

    Snakemake 9.27 makes a new object for each call of a function, which is eight times for each job. The
    study's functions do not change the object.
    """
    import snakemake.rules

    made = snakemake.rules.Wildcards
    if not isinstance(made, type):
        return
    # A job's values, and their object: Snakemake calls a job's functions in turn.
    latest: list[Any] = [None, None]

    def wildcards(*, fromdict: Any) -> Any:
        if fromdict is None or fromdict is not latest[0]:
            latest[:] = fromdict, made(fromdict=fromdict)
        return latest[1]

    snakemake.rules.Wildcards = wildcards


def format_commands_once(job_class: type[Any]) -> None:
    """Let Snakemake's class of jobs (`snakemake.jobs.Job`) format a job's shell command once in a dry run.

    Snakemake 9.27 formats it three times to print the job, and it prints it only with `--printshellcmds`.
    """
    shown = job_class.shellcmd.fget
    if hasattr(shown, "formats_once"):
        return

    def shellcmd(self: Any) -> str | None:
        if not self.dag.workflow.dryrun:
            return shown(self)
        used = (self.params, self.resources)
        kept = self.__dict__.get("_formatted_command")
        if kept is None or any(old is not new for old, new in zip(kept[0], used, strict=True)):
            kept = self._formatted_command = (used, shown(self))
        return kept[1]

    shellcmd.formats_once = True
    job_class.shellcmd = property(shellcmd, doc=job_class.shellcmd.__doc__)
