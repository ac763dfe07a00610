"""A stage's output: held by one process at a time, and whether it is made already."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


def is_file(output: Path) -> bool:
    """Whether a stage makes one JSON file, not a folder; a folder's name may hold dots."""
    return output.suffix == ".json"


@contextlib.contextmanager
def alone(output: Path) -> Iterator[bool]:
    """Hold `output` for this process; yields whether another held it before.

    A killed workflow leaves its jobs running: the rerun's job waits here instead of writing beside them.
    """
    folder = output.parent if is_file(output) else output
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f".{output.stem}.lock" if is_file(output) else ".lock")
    waited = False
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            print(f"{output}: another process is making it, waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield waited
