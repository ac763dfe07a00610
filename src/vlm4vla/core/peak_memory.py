"""The largest resident memory of a job that a run's worker has forked (workflow/warm_start).

Snakemake looks for the memory of a job in the process that it has started and in the children of that
process. The job of a worker is none of them, so it prints its memory itself.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_TAIL = 4096  # bytes at the end of a log that contain the line
_LINE = re.compile(r"^[\w-]+: peak memory (\d+) MB$", re.MULTILINE)
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of getrusage's unit


def megabytes() -> int:
    """The largest resident memory of this process or of an ended child so far, in MB of 2^20 bytes.

    The pages that a forked process shares with its parent count.
    """
    usages = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(usage.ru_maxrss for usage in usages) * _UNIT // 2**20


def line(command: str) -> str:
    """The line that the job `command` prints at its end."""
    return f"{command}: peak memory {megabytes()} MB"


def read_log(path: Path) -> float:
    """The MB that a finished job has printed to its log `path`; 0 if the log has none."""
    try:
        with path.open("rb") as log:
            log.seek(max(path.stat().st_size - _TAIL, 0))
            found = _LINE.findall(log.read().decode(errors="replace"))
    except OSError:
        return 0.0
    return float(found[-1]) if found else 0.0
