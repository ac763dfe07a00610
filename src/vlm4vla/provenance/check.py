"""`vlm4vla check`: verify the files of a packed study, in a zip file or in an unpacked folder."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.core.inside import LONGEST_NAME, LONGEST_PATH
from vlm4vla.provenance.crate import METADATA
from vlm4vla.provenance.pack import SUMS

PART = 1 << 20  # bytes that are read at once
MOST_FILES = 1_000_000
LONGEST_LINE = 5000  # bytes of a line of SHA256SUMS: more than the longest path of a file system
# Bytes of the metadata: for the study, and for each file. A study of 100 files has 1 kB a file.
METADATA_BYTES, METADATA_BYTES_PER_FILE = 10_000_000, 4000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of pack and of every common program
_UNICODE_NAME = 0x7075  # extra field of Info-ZIP
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
    with opened_zip(packed) as archive:
        return _check(packed, _Zip(packed, archive))


@contextmanager
def opened_zip(packed: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file. Raises UserError (one line) for a file that is none, or that is damaged."""
    try:
        archive = zipfile.ZipFile(packed)
    except Exception:  # zipfile raises errors of many types for damaged files
        raise UserError(f"{packed}: not a complete zip file: copy or download it again") from None
    with archive:
        yield archive


class _Unreadable(Exception):
    """A file cannot be read to its end."""


class _Folder:
    """The files of an unpacked study. Raises UserError for a link: it shows another place's content."""

    def __init__(self, root: Path):
        self.root = root
        self.names: set[str] = set()
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_symlink():
                raise UserError(f"{root}: {name}: a link, not a file: unpack the study again")
            if path.is_file():
                self.names.add(name)

    def parts(self, name: str) -> Iterator[bytes]:
        try:
            with (self.root / name).open("rb") as handle:
                while part := handle.read(PART):
                    yield part
        except OSError:
            raise _Unreadable from None


class _Zip:
    """The members of a zip file.

    Raises UserError for names that leave the folder where somebody unpacks the file, for links, for two
    members of one name, for encrypted members, and for methods of compression that need much memory.
    """

    def __init__(self, packed: Path, archive: zipfile.ZipFile):
        self.archive = archive
        self.names: set[str] = set()
        seen: set[str] = set()
        folders: set[str] = set()
        for member in archive.infolist():
            name = member.filename
            problem = _problem(name) or _problem(member.orig_filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if problem is None and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                problem = "a link or a device, not a file"
            if problem is None and member.flag_bits & 1:
                problem = "encrypted"
            if problem is None and member.compress_type not in METHODS:
                problem = f"compressed by method {member.compress_type}, which `vlm4vla pack` does not use"
            if problem is None and name in seen:
                problem = "is there twice"
            if problem is None and _UNICODE_NAME in _extra_fields(member.extra):
                problem = "has a second name, which other programs unpack"
            if problem is not None:
                raise UserError(
                    f"{packed}: {_shown(name)}: {problem}: do not unpack it, ask for another copy"
                )
            seen.add(name)
            folders.update(parent.as_posix() for parent in PurePosixPath(name).parents)
            if not name.endswith("/"):
                self.names.add(name)
        for name in sorted(self.names & folders):
            raise UserError(f"{packed}: {_shown(name)}: is a file and a folder: ask for another copy")

    def parts(self, name: str) -> Iterator[bytes]:
        try:
            with self.archive.open(name) as handle:
                while part := handle.read(PART):
                    yield part
        except Exception:  # zipfile raises errors of many types for damaged files
            raise _Unreadable from None


def _extra_fields(extra: bytes) -> set[int]:
    """The numbers of the extra fields of a member (APPNOTE.TXT of PKWARE, 4.5)."""
    found, at = set(), 0
    while at + 4 <= len(extra):
        found.add(int.from_bytes(extra[at : at + 2], "little"))
        at += 4 + int.from_bytes(extra[at + 2 : at + 4], "little")
    return found


def _problem(name: str) -> str | None:
    """What is wrong with the name of a member; None for a relative path below the folder."""
    if not name or not name.isprintable() or "\\" in name or re.match("[A-Za-z]:", name):
        return "not a path as zip files write it"
    if name.startswith("/"):
        return "an absolute path"
    longest = max(len(part.encode(errors="replace")) for part in name.split("/"))
    if longest > LONGEST_NAME or len(name.encode(errors="replace")) > LONGEST_PATH:
        return "a name that is too long"
    if any(part in ("..", ".", "") for part in name.removesuffix("/").split("/")):
        return "a path that leaves its folder or goes through it twice"
    return None


def _shown(name: str) -> str:
    """A member's name in one line, with its beginning only if it is long."""
    name = name if len(name) <= 200 else f"{name[:200]}..."
    return name if name.isprintable() and name else repr(name)


def _lines(parts: Iterator[bytes]) -> Iterator[str]:
    """The lines of a text in UTF-8 that arrives in parts. Raises ValueError for one that is too long."""
    rest = b""
    for part in parts:
        *complete, rest = (rest + part).split(b"\n")
        if max(map(len, (*complete, rest))) > LONGEST_LINE:
            raise ValueError(f"has a line of more than {LONGEST_LINE} bytes")
        yield from (line.decode(errors="replace") for line in complete)
    if rest:
        yield rest.decode(errors="replace")


def _check(packed: Path, files: _Folder | _Zip) -> int:
    def error(name: str, problem: str) -> UserError:
        return UserError(f"{packed}: {_shown(name)}: {problem}: unpack or download it again")

    if SUMS not in files.names:
        raise UserError(f"{packed}: has no {SUMS}: write the path of a study that `vlm4vla pack` has packed")
    sums: dict[str, str] = {}
    try:
        for line in _lines(files.parts(SUMS)):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"the line {line[:60]!r} is not a hash and a file name")
            if match[2] in sums:
                raise ValueError(f"lists {match[2]!r} twice")
            if len(sums) == MOST_FILES:
                raise ValueError(f"lists more than {MOST_FILES} files")
            sums[match[2]] = match[1]
    except ValueError as problem:
        raise error(SUMS, str(problem)) from None
    except _Unreadable:
        raise error(SUMS, "cannot be read") from None
    if METADATA not in sums:
        raise error(SUMS, f"does not list {METADATA}")
    largest = METADATA_BYTES + METADATA_BYTES_PER_FILE * len(sums)
    metadata = bytearray()
    for name, expected in sums.items():
        if name not in files.names:
            raise error(name, "missing")
        digest = hashlib.sha256()
        try:
            for part in files.parts(name):
                digest.update(part)
                if name == METADATA:
                    metadata += part
                if len(metadata) > largest:
                    raise error(METADATA, f"larger than {largest} bytes")
        except _Unreadable:
            raise error(name, "cannot be read") from None
        if digest.hexdigest() != expected:
            raise error(name, "changed")
    for name in sorted(files.names - set(sums) - {SUMS}):
        raise UserError(f"{packed}: {_shown(name)}: not a file of the packed study: remove it")
    described = _described(bytes(metadata), error)
    for name in sorted(set(sums) - {METADATA}):
        if described.get(name) != sums[name]:
            raise error(name, f"{METADATA} and {SUMS} have different hashes of this file")
    return len(sums)


def _described(metadata: bytes, error: Callable[[str, str], UserError]) -> dict[str, Any]:
    """The hashes in the RO-Crate's metadata by file."""
    try:
        graph = json.loads(metadata)["@graph"]
        entities = [each for each in graph if isinstance(each, dict) and "sha256" in each]
        if not isinstance(graph, list) or len(entities) == len(graph) == 0:
            raise ValueError
        return {str(entity["@id"]): entity["sha256"] for entity in entities}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise error(METADATA, "not the metadata of an RO-Crate (JSON with a list @graph)") from None
