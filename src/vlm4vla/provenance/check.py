"""`vlm4vla check`: verify the files of a packed study, in a zip file or in an unpacked folder."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from pathlib import Path

from vlm4vla.core.errors import UserError
from vlm4vla.provenance.crate import METADATA
from vlm4vla.provenance.pack import SUMS

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def run(packed: Path) -> None:
    """Verify every file and print the number of files.

    Raises UserError that names the first file that is missing, changed or not listed.
    """
    count = check(packed)
    print(f"{packed}: all {count} files match their hashes")


def check(packed: Path) -> int:
    """Verify every file and return the number of files. Raises UserError (one line) for the first error."""
    if packed.is_dir():
        return _check(packed, _Folder(packed))
    if not packed.is_file():
        raise UserError(
            f"{packed}: no such file: write the path of a packed study, or of the folder with its contents"
        )
    try:
        with zipfile.ZipFile(packed) as archive:
            return _check(packed, _Zip(archive))
    except zipfile.BadZipFile:
        raise UserError(f"{packed}: not a complete zip file: copy or download it again") from None


class _Folder:
    def __init__(self, root: Path):
        self.root = root
        self.names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


class _Zip:
    def __init__(self, archive: zipfile.ZipFile):
        self.archive = archive
        self.names = {name for name in archive.namelist() if not name.endswith("/")}

    def read(self, name: str) -> bytes:
        return self.archive.read(name)


def _check(packed: Path, files: _Folder | _Zip) -> int:
    def error(name: str, problem: str) -> UserError:
        return UserError(f"{packed}: {name}: {problem}: unpack or download it again")

    if SUMS not in files.names:
        raise UserError(f"{packed}: has no {SUMS}: write the path of a study that `vlm4vla pack` has packed")
    sums = {}
    for line in files.read(SUMS).decode(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise error(SUMS, f"the line {line[:60]!r} is not a hash and a file name")
        sums[match[2]] = match[1]
    if METADATA not in sums:
        raise error(SUMS, f"does not list {METADATA}")
    for name, expected in sums.items():
        if name not in files.names:
            raise error(name, "missing")
        try:
            found = hashlib.sha256(files.read(name)).hexdigest()
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError):
            raise error(name, "cannot be read") from None
        if found != expected:
            raise error(name, "changed")
    for name in sorted(files.names - set(sums) - {SUMS}):
        raise UserError(f"{packed}: {name}: not a file of the packed study: remove it")
    described = {
        entity["@id"]: entity.get("sha256")
        for entity in json.loads(files.read(METADATA))["@graph"]
        if "sha256" in entity
    }
    for name in sorted(set(sums) - {METADATA}):
        if described.get(name) != sums[name]:
            raise error(name, f"{METADATA} and {SUMS} have different hashes of this file")
    return len(sums)
