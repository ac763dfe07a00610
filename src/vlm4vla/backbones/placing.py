"""Checkpoints that are not made here: a local folder or a pinned revision from the hub, put in place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vlm4vla.artefacts import UserError
from vlm4vla.backbones.weights import family_of, weight_files

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
        source = _download(checkpoint, revision, key)
    weight_files(source)
    check_family(source, family, key, whose)
    output.mkdir(parents=True, exist_ok=True)
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


def _download(name: str, revision: str | None, key: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if revision is None:
        raise UserError(
            f"{key}.checkpoint: {name!r} is no local folder, and a hub name needs its commit: write "
            "`revision`, or the path of a folder"
        )
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(PARTS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{key}.checkpoint: {name!r} at {revision!r} cannot be downloaded ({reason}): check both, or "
            "write the path of a folder"
        ) from None
