"""Checkpoints that are not made here: a local folder or a pinned revision from the hub, put in place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vlm4vla.backbones import hub
from vlm4vla.backbones.weights import family_of, weight_files
from vlm4vla.core.errors import UserError

PARTS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # what a Hugging Face folder needs here
OURS = ("provenance.json", "score.json")  # of a folder that another stage made


def place(
    checkpoint: str, revision: str | None, output: Path, *, key: str, family: str, whose: str = "the family"
) -> None:
    """Link (or copy) the files of a local folder, or of a hub name's `revision`, into `output`.

    `key` of config.yaml holds `checkpoint`, `revision` and, for a backbone, `family`. Raises UserError when
    the checkpoint cannot be had, is damaged, or is not of `family`, which is `whose`; nothing is put in place
    then.
    """
    source = Path(checkpoint).expanduser()
    if not source.is_dir():
        source = hub.fetch(checkpoint, revision, PARTS, key)
    weight_files(source)
    check_family(source, family, key, whose)
    output.mkdir(parents=True, exist_ok=True)
    _check_copies(source, output, key)
    for old in output.glob("*.safetensors*"):  # of other settings; it must not hide a missing file
        old.unlink()
    for pattern in PARTS:
        for file in sorted(source.glob(pattern)):
            if file.name in OURS:
                continue
            target = output / file.name
            target.unlink(missing_ok=True)
            try:
                os.link(file.resolve(), target)
            except OSError:  # another file system
                shutil.copy2(file, target)


def _check_copies(source: Path, output: Path, key: str) -> None:
    """Refuse to copy what the disk of `output` has no room for; links on one disk need none."""
    files = [file.resolve() for pattern in PARTS for file in source.glob(pattern)]
    here = output.stat().st_dev
    copied = sum(file.stat().st_size for file in files if file.stat().st_dev != here)
    hub.check_room(output, copied, f"{key}.checkpoint: a copy of {source}", "move `results` to a larger one")


def check_family(folder: Path, family: str, key: str, whose: str = "the family") -> None:
    """Refuse a Hugging Face folder of another family than `family`, from its config.json alone."""
    found = family_of(folder)
    if found == family:
        return
    if whose == "the family":
        raise UserError(f"{key}.family: {family!r}, but {folder} is a {found!r}: write that")
    raise UserError(
        f"{key}.checkpoint: {folder} is a {found!r}, but {whose} is a {family!r}: write a checkpoint of "
        "that family, or ask for another backbone"
    )
