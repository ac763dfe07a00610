"""The lock on a stage's output: one process at a time writes it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from vlm4vla.core.disk import NO_SPACE
from vlm4vla.core.errors import UserError

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)  # Lustre without flock


def is_file(output: Path) -> bool:
    """Whether the stage writes one JSON file and not a folder (whose name can contain dots)."""
    return output.suffix == ".json"


@contextlib.contextmanager
def alone(output: Path) -> Iterator[bool]:
    """Lock `output` for this process. Yields whether another process held the lock and this one waited.

    A killed workflow leaves its jobs running. The job of a new run waits here instead of writing to the same
    place. On a file system without locks nobody waits. Raises UserError if the output cannot be written, or
    cannot be locked for another reason.
    """
    with _opened(output) as handle:
        yield _lock(handle, output)


def _lock(handle: TextIOWrapper, output: Path) -> bool:
    """Lock the file, if locks exist. Returns whether this process waited for another one."""
    waited = False
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            print(f"{output}: waiting for another process that is writing it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise UserError(
                f"{output}: cannot be locked ({error.strerror}): run the same command again, or write "
                "to another disk"
            ) from None
        print(f"{output}: this file system has no locks: start one run at a time", flush=True)
    return waited


def _opened(output: Path) -> TextIOWrapper:
    folder = output.parent if is_file(output) else output
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / (f".{output.stem}.lock" if is_file(output) else ".lock")).open("w")
    except OSError as error:
        if error.errno in NO_SPACE:  # the command line states what is full
            raise
        raise UserError(
            f"{output}: cannot be written ({error.strerror}): write another folder, or change its permissions"
        ) from None
