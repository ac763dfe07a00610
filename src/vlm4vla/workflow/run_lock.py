"""Snakemake's lock on a folder, where a killed run has left it behind."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from vlm4vla.core.artefacts import write_text

CLAIM = Path(".snakemake") / "machine"  # holds the name of the machine whose lock it is


def running_elsewhere(folder: Path) -> bool:
    """Whether another live Snakemake of this machine works in `folder`."""
    import psutil

    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        named = any(Path(word).name == "snakemake" for word in words[:3]) or "snakemake" in words[1:3]
        if process.info["pid"] not in own and named and process.info["cwd"] == str(folder.resolve()):
            return True
    return False


def release_stale_lock(folder: Path) -> bool:
    """Remove the lock that a killed Snakemake left in `folder`; True when one was removed.

    Snakemake asks for `--unlock` by hand, since its lock does not say whether its owner still lives. Of a
    folder that machines share, this one sees its own processes only: a lock of another machine stays.
    """
    locks = _locks(folder)
    claimed = folder / CLAIM
    of_another = claimed.exists() and claimed.read_text().strip() != platform.node()
    if not locks or of_another or running_elsewhere(folder):
        return False
    for lock in locks:
        lock.unlink(missing_ok=True)
    return True


def claim(folder: Path) -> None:
    """Note in `folder` that the next lock will be this machine's; nothing while there is one already."""
    if not _locks(folder):
        write_text(folder / CLAIM, f"{platform.node()}\n")


def _locks(folder: Path) -> list[Path]:
    return list((folder / ".snakemake" / "locks").glob("*.lock"))
