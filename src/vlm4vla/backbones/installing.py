"""Installing of released checkpoints, from a local folder or from a pinned revision on the hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vlm4vla.backbones import hub
from vlm4vla.backbones.complete_folder import check_complete
from vlm4vla.backbones.folder_files import PATTERNS
from vlm4vla.backbones.weights import family_of
from vlm4vla.core.artefacts import atomic_path
from vlm4vla.core.disk import check_room
from vlm4vla.core.errors import UserError

STAGE_FILES = ("provenance.json", "score.json")  # written by another stage into its folder; not installed


def install(
    checkpoint: str,
    revision: str | None,
    output: Path,
    *,
    key: str,
    family: str,
    required_by: str | None = None,
) -> None:
    """Link (or copy) the files of a local folder, or of a hub name's `revision`, into `output`.

    `key`: the key of config.yaml that holds `checkpoint` and `revision`. `family`: the family that the
    checkpoint must have. `required_by`: the backbone that has this family; None if `key` itself holds
    `family`. Raises UserError if the checkpoint cannot be obtained, is incomplete or has another family;
    `output` does not change then.
    """
    source = Path(checkpoint).expanduser()
    if not source.is_dir():
        source = hub.fetch(checkpoint, revision, PATTERNS, key)
    check_family(source, family, key, required_by)
    try:
        check_complete(source)
    except UserError as error:
        raise UserError(f"{key}.checkpoint: {error}") from None
    output.mkdir(parents=True, exist_ok=True)
    _check_room_for_copies(source, output, key)
    for old in output.glob("*.safetensors*"):  # from other settings; an old file could hide a missing one
        old.unlink()
    for pattern in PATTERNS:
        for file in sorted(source.glob(pattern)):
            if file.name in STAGE_FILES:
                continue
            target = output / file.name
            target.unlink(missing_ok=True)
            try:
                os.link(file.resolve(), target)
            except OSError:  # another file system
                with atomic_path(target) as temporary:
                    shutil.copyfile(file, temporary)


def _check_room_for_copies(source: Path, output: Path, key: str) -> None:
    """Raise UserError if the disk of `output` has no room for the copies; links on one disk need no room."""
    files = [file.resolve() for pattern in PATTERNS for file in source.glob(pattern)]
    disk = output.stat().st_dev
    copied = sum(file.stat().st_size for file in files if file.stat().st_dev != disk)
    check_room(output, copied, f"{key}.checkpoint: a copy of {source}", "move `results` to a larger disk")


def check_family(folder: Path, family: str, key: str, required_by: str | None = None) -> None:
    """Raise UserError if a Hugging Face folder is not of `family`, judging by its config.json alone."""
    found = family_of(folder)
    if found == family:
        return
    if required_by is None:
        raise UserError(f"{key}.family: {family!r}, but {folder} is a {found!r}: write {found!r}")
    raise UserError(
        f"{key}.checkpoint: {folder} is a {found!r}, but {required_by} is a {family!r}: write a checkpoint "
        f"of the family {family!r}, or request another backbone"
    )
