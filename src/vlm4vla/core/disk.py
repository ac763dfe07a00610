"""Whether a disk has room for what is to be put there."""

from __future__ import annotations

import shutil
from pathlib import Path

from vlm4vla.core.errors import UserError


def check_room(folder: Path, wanted: float, what: str, otherwise: str) -> None:
    """Refuse to put `wanted` bytes below `folder` where the disk has less.

    `what` needs them; `otherwise` is what else to do than to free some room.
    """
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise UserError(
            f"{what} needs {wanted / 1e9:.1f} GB, and the disk of {folder} has {free / 1e9:.1f} GB free: "
            f"free some room, or {otherwise}"
        )
