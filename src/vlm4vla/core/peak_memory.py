"""The largest resident memory of a job that a run's worker has forked (workflow/warm_start).

Snakemake looks for the memory of a job in the process that it has started and in the children of that
process. The job of a worker is none of them, so it prints its memory itself.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_TAIL = 4096  # bytes at the end of a log that contain the lines
_LINE = re.compile(r"^[\w-]+: peak memory (\d+) MB$", re.MULTILINE)
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of getrusage's unit
_STATUS = Path("/proc/self/status")
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def megabytes() -> int:
    """The largest resident memory of this process or of an ended child so far, in MB of 2^20 bytes.

    The pages that a forked process shares with its parent count: a job that starts by itself loads the same
    modules. Memory that another program held in this process before exec does not count. Linux has both
    figures: `ru_maxrss` of getrusage(2) includes that program, and `VmHWM` of proc_pid_status(5) does not.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT
    return max(_own(), children) // 2**20


def _own() -> int:
    """The largest resident memory of this process, in bytes."""
    try:
        found = _HIGH_WATER.search(_STATUS.read_text(errors="replace"))
    except OSError:  # not Linux
        found = None
    if found is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
    return int(found[1]) * 1024


def line(command: str) -> str:
    """The line that the job `command` prints at its end."""
    return f"{command}: peak memory {megabytes()} MB"


def end_of(log: Path) -> str:
    """The last lines of a job's log; empty if it cannot be read."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(log.stat().st_size - _TAIL, 0))
            return opened.read().decode(errors="replace")
    except OSError:
        return ""


def read_log(path: Path) -> float:
    """The MB that a finished job has printed to its log `path`; 0 if the log has none."""
    found = _LINE.findall(end_of(path))
    return float(found[-1]) if found else 0.0
