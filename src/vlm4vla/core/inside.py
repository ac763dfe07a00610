"""File names that a dataset, a checkpoint or a table of questions states: they must stay in its folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path, PurePosixPath

LONGEST_NAME = 255  # bytes of one part of a path, on all common file systems
LONGEST_PATH = 4000  # bytes; Linux takes 4095


def outside(folder: Path, name: str) -> str | None:
    """Why the file `name` is none below `folder`, as words for a message; None if it is one.

    A name with `..`, an absolute name, and a link whose target is elsewhere lead out of the folder. The links
    of the Hugging Face cache, from a snapshot to the files of the same repository, stay inside. The file need
    not exist.
    """
    problem = bad_name(name)
    if problem is None and not _is_real_inside(folder, name):
        problem = f"is a link out of the folder {folder}: replace it with the file itself"
    return problem


def bad_name(name: str) -> str | None:
    """Why `name` is no relative path of a file, as words for a message; None if it is one."""
    path = PurePosixPath(name)
    if not name.isprintable() or not path.parts:  # an empty name has no parts
        return "is not a file name"
    if path.is_absolute():
        return "is an absolute path: write it relative to its folder"
    if ".." in path.parts:
        return "leaves its folder: write a path without '..'"
    try:
        encoded = [part.encode() for part in path.parts]
    except UnicodeEncodeError:
        return "is not a file name"
    if max(map(len, encoded)) > LONGEST_NAME or len(name.encode()) > LONGEST_PATH:
        return f"is too long for a file name ({len(name)} characters)"
    return None


def _is_real_inside(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(_root(folder))
    except (OSError, RuntimeError):  # a circle of links
        return False


@lru_cache(maxsize=64)
def _root(folder: Path) -> Path:
    """The folder, or the repository in the Hugging Face cache of which it is a snapshot."""
    real = folder.resolve()
    for parent in real.parents:
        if parent.name == "snapshots" and (parent.parent / "blobs").is_dir():
            return parent.parent
    return real
