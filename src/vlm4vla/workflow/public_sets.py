"""What can be known of public sets before any job starts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vlm4vla.config.config import Config
from vlm4vla.config.public_sets import SetSettings
from vlm4vla.core.errors import UserError


def check_sets(config: Config, needed: Collection[str]) -> None:
    """Refuse a local set whose folder, files or columns are not there, and a hub name without a revision.

    `needed`: auxiliary tasks. Whether a hub set is there its stage finds out.
    """
    tasks = config.auxiliary.tasks if config.auxiliary else {}
    for task, given in tasks.items():
        if task not in needed:
            continue
        for name, settings in given.members(task).items():
            key = f"config.yaml: auxiliary.tasks.{task}" + ("" if name == task else f".mixture.{name}")
            _check(settings, key)


def _check(settings: SetSettings, key: str) -> None:
    if Path(settings.dataset).expanduser().is_dir():
        from vlm4vla.auxiliary.public.opening import open_set

        open_set(settings, key)
    elif settings.revision is None:
        raise UserError(
            f"{key}.dataset: {settings.dataset!r} is no folder, and a hub name needs its commit: write "
            "`revision`, or the path of a folder"
        )
