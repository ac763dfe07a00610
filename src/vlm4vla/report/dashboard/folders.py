"""Find the folders of studies below a results folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vlm4vla.core.errors import UserError
from vlm4vla.study.layout import ARTEFACTS, BENCHMARKS, LOGS

CONFIG = ARTEFACTS["study_config"].path(format="yaml")
DEEPEST = 20  # levels of folders below the results folder
# A folder is a study if it has a file of one of these kinds, or one of these folders.
_FILES = ("table", "analysis", "rollout", "cell", "vla", "backbone", "questions", "demonstrations")
_FOLDERS = tuple(ARTEFACTS[name].folder for name in ("rollout", "vla"))
_INSIDE = {artefact.folder for artefact in ARTEFACTS.values()} | {LOGS, BENCHMARKS}
_WORKFLOW = "Snakefile"


def study_folders(root: Path) -> tuple[list[Path], list[str]]:
    """The studies in `root` and in every folder below it, sorted, and one line for each unreadable folder.

    A folder is a study if it has a config.yaml or results. Links are followed, and each folder counts once.
    The folders of a study's own results, and hidden folders, are not searched. Raises UserError if `root` is
    no folder.
    """
    if not root.is_dir():
        raise UserError(f"{str(root)!r}: no such folder: write a folder with results of studies")
    found, unreadable = [], []
    seen: set[tuple[int, int]] = set()
    places, links = [root], []
    while places or links:
        # A link to a folder that has its own place in `root` does not take its name.
        folder = places.pop(0) if places else links.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            unreadable.append(f"{_below(folder, root)}: {error.strerror}")
            continue
        names = {entry.name for entry in entries}
        study = _is_study(folder, names)
        if study:
            found.append(folder)
        if len(folder.relative_to(root).parts) >= DEEPEST:
            continue
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_dir() and not (study and entry.name in _INSIDE):
                (links if entry.is_symlink() else places).append(folder / entry.name)
    return sorted(found), sorted(unreadable)


def _is_study(folder: Path, names: set[str]) -> bool:
    """Whether `folder` with the entries `names` is a study's. The workflow's own folder is not."""
    if _WORKFLOW in names:
        return False
    packed = folder.name == "config" and (folder.parent / _WORKFLOW).exists()  # of a packed study
    if CONFIG in names and (folder / CONFIG).is_file() and not packed:
        return True
    if any(name in names and (folder / name).is_dir() for name in _FOLDERS):
        return True
    return any(True for name in _FILES if ARTEFACTS[name].folder in names for _ in _files(folder, name))


def _files(folder: Path, name: str) -> Iterator[Path]:
    return (path for path in folder.glob(ARTEFACTS[name].glob) if ARTEFACTS[name].parse(_below(path, folder)))


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
