"""The CPU time of a job: the user and system time of its process and of the children that it waited for.

The kernel counts this time (getrusage), so that it is exact however long the job ran, and whatever ended in
between. A job that the workflow runs prints its time at its end, as the last line of its log. Its provenance
has the time that had passed when the provenance was written.
"""

from __future__ import annotations

import atexit
import re
import resource
import sys
from pathlib import Path
from typing import NamedTuple

from vlm4vla.core import imports, peak_memory

_LINE = re.compile(r"^[\w-]+: CPU time (\d+\.\d+) s, start-up (\d+\.\d+) s$", re.MULTILINE)


class JobTime(NamedTuple):
    """CPU seconds of a job. `start_up`: the part that passed before its work began, mostly in imports."""

    total: float
    start_up: float


class _Process:
    """Whether this process runs one command and nothing else, and CPU seconds until the command began."""

    of_one_command = False
    before_command = 0.0


def seconds() -> float:
    """CPU seconds of this process so far, with those of its children that have ended and been waited for.

    A child counts together with the children that it waited for itself. Processes on other nodes do not.
    """
    usages = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def spent() -> JobTime:
    """The CPU time of this process so far, for `since`."""
    return JobTime(seconds(), _Process.before_command + imports.seconds())


def begin() -> JobTime:
    """The CPU time at the beginning of a job.

    It is zero in a process that runs one command and nothing else, because the whole process is the job. In
    any other process, such as a user's notebook, the job begins now.
    """
    return JobTime(0.0, 0.0) if _Process.of_one_command else spent()


def since(beginning: JobTime) -> JobTime:
    """The CPU time since `beginning`."""
    now = spent()
    return JobTime(now.total - beginning.total, now.start_up - beginning.start_up)


def own_process() -> None:
    """Tell this module that the process runs one command, which begins now, and nothing else."""
    _Process.of_one_command, _Process.before_command = True, seconds()


def line(command: str, time: JobTime) -> str:
    """The line that the job `command` prints at its end."""
    return f"{command}: CPU time {time.total:.2f} s, start-up {time.start_up:.2f} s"


class PrintAtExit:
    """Prints the job's CPU time when the process exits, if `succeeded` was set.

    Create it before other modules are imported. Exit handlers run in reverse order, so this one runs after
    those that end pools of processes.
    """

    def __init__(self, command: str):
        self.command, self.succeeded = command, False
        atexit.register(self._print)

    def _print(self) -> None:
        if self.succeeded:
            try:
                if imports.were_inherited():  # then Snakemake cannot see the memory of this process
                    print(peak_memory.line(self.command))
                print(line(self.command, spent()), flush=True)
            except (OSError, ValueError):  # nobody reads the output, or its disk is full
                sys.stdout = None  # otherwise Python tries again to write it, and the job fails


def read_log(path: Path) -> JobTime | None:
    """The CPU time that a finished job has printed to its log `path`; None if the log has none."""
    found = _LINE.findall(peak_memory.end_of(path))
    return JobTime(*map(float, found[-1])) if found else None
