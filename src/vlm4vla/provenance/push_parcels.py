"""What `vlm4vla push` sends: the files of a policy, of demonstrations, or of a packed study."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from vlm4vla.backbones.processor_files import COPIED
from vlm4vla.core.artefacts import file_hash, files_of
from vlm4vla.core.errors import UserError
from vlm4vla.data.demonstrations.frame_index import INDEX
from vlm4vla.data.lerobot.metadata import read_metadata
from vlm4vla.data.lerobot.totals import check_present
from vlm4vla.policies.model_card import CARD
from vlm4vla.provenance.check import check, opened_zip
from vlm4vla.provenance.crate import METADATA
from vlm4vla.provenance.pack import SUMS
from vlm4vla.provenance.push_cards import dataset_card, policy_card_of, study_card
from vlm4vla.study.layout import ARTEFACTS, PROVENANCE
from vlm4vla.study.results_folder import read_json

POLICY, WEIGHTS, BACKBONE = "policy.json", "policy.safetensors", "backbone"
# The files that each kind of folder has, as patterns of paths. Nothing else is published.
OF_POLICY = (POLICY, WEIGHTS, PROVENANCE, "train.jsonl", *COPIED)
OF_BACKBONE = (
    "config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json",
    "vocab.txt", "*.model", *COPIED,
)  # fmt: skip
OF_DATASET = ("meta/*.json", "meta/*.jsonl", "meta/*.parquet", "data/*.parquet", "videos/*.mp4", PROVENANCE)
INFO = "meta/info.json"
KINDS = "a policy (policy.json), a demonstration set (meta/info.json) or a packed study (SHA256SUMS)"


@dataclass(frozen=True)
class Parcel:
    """The files to send. `files`: path in the repository -> file. `texts`: path -> text, made for the hub.

    `replaced`: patterns of files in the repository that are removed unless they are sent again. `tag`: a tag
    for the new commit. `left_out`: files of the folder that are none of its kind, and so are not sent.
    """

    kind: Literal["policy", "demonstration set", "packed study"]
    files: Mapping[str, Path]
    texts: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    tag: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def repository(self) -> Literal["model", "dataset"]:
        """The type of the repository on the hub."""
        return "model" if self.kind == "policy" else "dataset"

    def sizes(self) -> dict[str, int]:
        """The bytes of each file, by its path in the repository, sorted."""
        sizes = {name: path.stat().st_size for name, path in self.files.items()}
        sizes |= {name: len(text.encode()) for name, text in self.texts.items()}
        return dict(sorted(sizes.items()))


def parcel(folder: Path, name: str, licence: str | None) -> Parcel:
    """The parcel of `folder`, with the hashes that it records checked.

    `name`: the repository, for the card. `licence`: an identifier of the hub, or None for the default. Raises
    UserError (one line) for a folder that is none of the kinds, is not finished, has a link, or has a file
    that is missing or changed.
    """
    if folder.is_file() and _is_zip(folder):
        return _packed_file(folder, name, licence)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: write the folder of {KINDS}")
    if (folder / POLICY).is_file():
        return _policy(folder, name, licence)
    if (folder / INFO).is_file():
        return _demonstrations(folder, name, licence)
    if (folder / SUMS).is_file():
        return _packed_folder(folder, licence)
    raise UserError(f"{folder}: {_reason(folder)}")


def _is_zip(file: Path) -> bool:
    """Whether a file ends as zip files do. `check` says what is wrong with a damaged one."""
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:
        return True


def _reason(folder: Path) -> str:
    """Why a folder cannot be sent, and what to do instead."""
    if (folder / INDEX).is_file():
        return "an index of a dataset that is elsewhere, not the dataset: push the folder of the dataset"
    if any((folder / ARTEFACTS[name].folder).is_dir() for name in ("analysis", "rollout", "vla")):
        return (
            f"a results folder: run `vlm4vla pack {folder} --output study.zip`, then push study.zip; or push "
            "the folder of one policy in vla/"
        )
    if (folder / WEIGHTS).is_file():
        return f"a policy without {POLICY}: train the policy again"
    return f"nothing to push: write the folder of {KINDS}"


def _policy(folder: Path, name: str, licence: str | None) -> Parcel:
    provenance = _finished(folder)
    hashes = provenance.get("outputs")
    if provenance.get("stage") != "vla" or not isinstance(hashes, dict) or WEIGHTS not in hashes:
        raise UserError(f"{folder / PROVENANCE}: not the record of a policy: train the policy again")
    found = [*files_of(folder, "*"), *files_of(folder / BACKBONE, "**/*")]
    _check_hashes(folder, hashes, "train the policy again")
    kept = {path.relative_to(folder).as_posix(): path for path in found if path != folder / CARD}
    patterns = [*OF_POLICY, *(f"{BACKBONE}/{each}" for each in OF_BACKBONE)]
    listed, left_out = _listed(_without_links(kept), patterns)
    text = policy_card_of(folder, provenance, name, licence)
    replaced = (f"{BACKBONE}/*", "*.safetensors")
    return Parcel("policy", listed, {CARD: text}, replaced, left_out=left_out)


def _demonstrations(folder: Path, name: str, licence: str | None) -> Parcel:
    metadata = read_metadata(folder)
    metadata.check_tables()
    for camera in metadata.cameras():
        if metadata.is_video(camera):
            check_present(folder, [folder / file for file in metadata.videos(camera).names])
    provenance: dict[str, Any] = {}
    if (folder / PROVENANCE).is_file():
        provenance = _finished(folder)
        _check_hashes(folder, provenance.get("files") or {}, "record the demonstrations again")
    found = files_of(folder, "**/*")
    kept = {path.relative_to(folder).as_posix(): path for path in found if path != folder / CARD}
    listed, left_out = _listed(_without_links(kept), OF_DATASET)
    text = dataset_card(metadata.info, provenance, name, licence)
    return Parcel(
        "demonstration set",
        listed,
        {CARD: text},
        ("meta/*", "data/*", "videos/*"),
        metadata.version,  # LeRobot looks for a tag with the version of the format
        left_out,
    )


def _packed_file(packed: Path, name: str, licence: str | None) -> Parcel:
    count = check(packed)
    with opened_zip(packed) as archive:
        metadata = json.loads(archive.read(METADATA))
    text = study_card(metadata, packed.name, count, name, licence)
    return Parcel("packed study", _without_links({packed.name: packed}), {CARD: text})


def _packed_folder(folder: Path, licence: str | None) -> Parcel:
    """An unpacked study is sent as it is: another card would not be a file of the packed study."""
    if licence is not None:
        raise UserError("--licence: an unpacked study states its licence itself: leave --licence out")
    check(folder)
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return Parcel("packed study", {path.relative_to(folder).as_posix(): path for path in found})


def _finished(folder: Path) -> dict[str, Any]:
    """The provenance record of a finished artefact. Raises UserError."""
    path = folder / PROVENANCE
    if not path.is_file():
        raise UserError(f"{folder}: not finished, it has no {PROVENANCE}: run its job to the end first")
    found = read_json(path, "run its job again")
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a JSON object: run its job again")
    return found


def _check_hashes(folder: Path, hashes: Mapping[str, Any], remedy: str) -> None:
    """Raise UserError if a file is missing or has another hash than the record states."""
    for inside, expected in hashes.items():
        path = folder / inside
        if not path.is_file():
            raise UserError(f"{path}: missing: {remedy}")
        if file_hash(path) != expected:
            raise UserError(f"{path}: changed since it was written: {remedy}")


def _listed(files: Mapping[str, Path], patterns: Iterable[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The files whose paths fit one of `patterns`, and the paths of the others. `*` also stands for `/`."""
    patterns = list(patterns)
    fits = {name: any(fnmatchcase(name, each) for each in patterns) for name in files}
    listed = {name: path for name, path in files.items() if fits[name]}
    return listed, tuple(sorted(set(files) - set(listed)))


def _without_links(files: Mapping[str, Path]) -> Mapping[str, Path]:
    """`files`. Raises UserError for a link: it can lead to a file that nobody means to publish."""
    for path in _linked(files.values()):
        raise UserError(f"{path}: a link, not a file: replace it with a copy of the file")
    return files


def _linked(paths: Iterable[Path]) -> Iterable[Path]:
    return (path for path in paths if path.is_symlink())
