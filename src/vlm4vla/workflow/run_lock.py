"""One run at a time in a results folder: a lock that says who holds it.

Snakemake has a lock, too, for the files of a run. But at its end each Snakemake removes the locks of all, so
that a short command in the same folder would take away the lock of a long run. Snakemake's own lock stays
behind if Snakemake is killed; `release_stale_lock` removes it.
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

from vlm4vla.core.artefacts import parse_json, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.core.output_lock import NO_LOCKS

FILE = ".run.lock"
LOCK_OWNER = Path(".snakemake") / "machine"  # names the machine whose run has Snakemake's lock
_held: list[TextIOWrapper] = []  # open, and so locked, until this process ends


def hold(folder: Path, words: Sequence[str]) -> None:
    """Lock the results folder for the life of this process. Jobs that it starts do not inherit the lock.

    `words`: the arguments of this run, for the message to others. Raises UserError if another run holds the
    lock, or if its file cannot be opened or locked. Does nothing on a file system without locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / FILE).open("a+", errors="replace")
    except OSError as error:
        raise UserError(
            f"{folder / FILE}: cannot be opened ({error.strerror}): delete it, or change its permissions"
        ) from None
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
            raise UserError(
                f"{folder / FILE}: cannot be locked ({error.strerror}): run the same command again, or "
                "write to another disk"
            ) from None
        return
    handle.truncate(0)
    about = {"pid": os.getpid(), "machine": platform.node(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    json.dump(about | {"command": " ".join(["snakemake", *words])}, handle)
    handle.flush()
    _held.append(handle)


def _described(content: str) -> str:
    """The holder in words."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        about = parse_json(content)
        return (
            f"process {about['pid']} on {about['machine']} since {about['started']}: {about['command'][:120]}"
        )
    return "its process is not known"


def release_stale_lock(folder: Path) -> bool:
    """Remove the lock that a killed Snakemake left in `folder`. Return whether a lock was removed.

    Snakemake's lock does not say whether its owner still runs, so Snakemake asks the user for `--unlock`. If
    several machines share the folder, this machine sees its own processes only. It therefore keeps the lock
    of another machine. Raises UserError if a lock cannot be removed.
    """
    locks = _locks(folder)
    owner = folder / LOCK_OWNER
    owned_elsewhere = os.path.lexists(owner) and _text(owner) != platform.node()
    if not locks or owned_elsewhere or _snakemake_runs_in(folder):
        return False
    for lock in locks:
        try:
            lock.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{lock}: the lock of a killed run cannot be removed ({error.strerror}): delete it yourself"
            ) from None
    return True


def record_lock_owner(folder: Path) -> None:
    """Record that the next lock in `folder` belongs to this machine. Do nothing if there is a lock.

    Raises UserError if Snakemake's folder cannot be written.
    """
    try:
        if not _locks(folder):
            write_text(folder / LOCK_OWNER, f"{platform.node()}\n")
    except OSError as error:
        raise UserError(
            f"{folder / LOCK_OWNER.parent}: cannot be written ({error.strerror}): change its permissions, or "
            "run in a folder of your own"
        ) from None


def _text(path: Path) -> str | None:
    """The line of a file, or None if it cannot be read."""
    try:
        return path.read_text().strip() if path.is_file() else None  # a pipe would wait for a writer
    except (OSError, UnicodeDecodeError):
        return None


def _snakemake_runs_in(folder: Path) -> bool:
    """Whether another Snakemake runs in `folder` on this machine."""
    import psutil

    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        is_snakemake = any(Path(word).name == "snakemake" for word in words[:3]) or "snakemake" in words[1:3]
        if process.info["pid"] not in own and is_snakemake and process.info["cwd"] == str(folder.resolve()):
            return True
    return False


def _locks(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list((folder / ".snakemake" / "locks").glob("*.lock"))
    return []
