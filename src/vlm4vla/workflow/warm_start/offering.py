"""Starts the worker of a run, and puts its client in front of the command `vlm4vla`."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm4vla.workflow.warm_start import client

VARIABLE = "VLM4VLA_WARM_START"  # 0: every job starts by itself
STAGES = ("backbone", "auxiliary", "capability", "vla", "rollout")  # rules whose jobs need torch
FEWEST_JOBS = 3  # the worker's own start costs as much as that of one job; `make cell` has three
GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
_LONGEST_SOCKET = 100  # bytes of a socket's path that every system accepts
# Snakemake sets these to the threads of a job, which is one thread for the jobs of `STAGES`.
_THREADS = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_END_S = 20.0  # the worker ends at once if no job is left


def offer_warm_start(workflow: Any) -> None:
    """Start a worker if the run is on this machine, has enough jobs, and nothing is unusual.

    `workflow`: Snakemake's, with the plan of the run. The worker ends with this process.
    """
    if not workflow.local_exec or workflow.deployment_settings.deployment_method:
        return
    jobs = sum(job.rule.name in STAGES for job in workflow.dag.needrun_jobs())
    if jobs >= FEWEST_JOBS and is_possible(os.environ):
        start(os.environ)


def is_possible(environment: Mapping[str, str]) -> bool:
    """Whether jobs may start warm in this environment.

    Only on Linux: on macOS, a forked process cannot use some of the system's libraries. Not with a GPU, of
    which a forked process could inherit a half-open state. Not if the command `vlm4vla` is of another Python.
    """
    command = shutil.which(client.COMMAND, path=environment.get("PATH"))
    return (
        environment.get(VARIABLE) != "0"
        and sys.platform == "linux"
        and Path("/proc/self/task").is_dir()
        and not any(Path(device).exists() for device in GPU_DEVICES)
        and command is not None
        and os.path.samefile(Path(command).parent, Path(sys.executable).parent)
    )


def start(environment: Any) -> subprocess.Popen[bytes] | None:
    """Start the worker and put its client first in `environment`'s PATH. None if there is no place for it.

    Jobs start as usual until the worker has imported its modules.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="vlm4vla-"))
    except OSError:
        return None
    if len(os.fsencode(folder / client.SOCKET)) > _LONGEST_SOCKET or ":" in str(folder):
        folder.rmdir()
        return None
    try:
        command = folder / client.COMMAND
        words = (sys.executable, "-I", "-S", client.__file__, str(folder))
        command.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        command.chmod(0o700)
        worker = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**environment, **dict.fromkeys(_THREADS, "1")},
            start_new_session=True,
        )
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    environment["PATH"] = os.pathsep.join((str(folder), environment.get("PATH", "")))
    atexit.register(stop, worker, folder)
    return worker


def stop(worker: subprocess.Popen[bytes], folder: Path) -> None:
    """End the worker, and wait until it has, so that its CPU time counts as part of the run."""
    assert worker.stdin is not None
    with contextlib.suppress(OSError):
        worker.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(_END_S)
    shutil.rmtree(folder, ignore_errors=True)
