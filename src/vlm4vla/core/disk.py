"""Check that a disk has enough free space before something large is written to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from vlm4vla.core.errors import UserError


def check_room(folder: Path, needed: float, subject: str, alternative: str) -> None:
    """Raise UserError if the disk that holds `folder` has less than `needed` bytes free.

    `folder` need not exist yet. The message begins with `subject`, which names the configuration key or the
    file that needs the space. It ends with `alternative`, the other remedy than to free some space.
    """
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{subject} needs {needed / 1e9:.1f} GB, and the disk of {folder} has {free / 1e9:.1f} GB free: "
            f"free some space, or {alternative}"
        )
