"""One run at a time in a results folder: a lock that says who holds it.

Snakemake has a lock, too, for the files of a run. But at its end each Snakemake removes the locks of all, so
that a short command in the same folder would take away the lock of a long run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

from vlm4vla.core.errors import UserError
from vlm4vla.core.output_lock import NO_LOCKS

FILE = ".run.lock"
_held: list[TextIOWrapper] = []  # open, and so locked, until this process ends


def hold(folder: Path, words: Sequence[str]) -> None:
    """Lock the results folder for the life of this process. Jobs that it starts do not inherit the lock.

    `words`: the arguments of this run, for the message to others. Raises UserError if another run holds the
    lock. Does nothing on a file system without locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = (folder / FILE).open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        holder = _described(handle.read())
        handle.close()
        raise UserError(
            f"{folder}: another run is writing it ({holder}): wait until it ends, or stop it, then run the "
            "same command again"
        ) from None
    except OSError as error:
        handle.close()
        if error.errno not in NO_LOCKS:
            raise
        return
    handle.truncate(0)
    about = {"pid": os.getpid(), "machine": platform.node(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    json.dump(about | {"command": " ".join(["snakemake", *words])}, handle)
    handle.flush()
    _held.append(handle)


def _described(content: str) -> str:
    """The holder in words."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        about = json.loads(content)
        return (
            f"process {about['pid']} on {about['machine']} since {about['started']}: {about['command'][:120]}"
        )
    return "its process is not known"
