"""What an unfinished data set holds already: a note for each whole file, so that a writer can go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_json

NOTES = ".unfinished"


class UnfinishedSet:
    """Notes in a folder beside the data, which go when the set is whole.

    Raises UserError when the folder holds notes of another `identity`, or anything without notes.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.folder = folder / NOTES
        path = self.folder / "identity.json"
        if path.is_file():
            found = read_json(path)
            if found != dict(identity):
                raise UserError(
                    f"{folder}: holds an unfinished data set made of {found}: write another folder, or "
                    "delete it"
                )
        elif folder.is_dir() and any(not inside.name.startswith(".") for inside in folder.iterdir()):
            raise UserError(f"{folder}: is not empty, and no unfinished data set: write another folder")
        else:
            write_json(path, dict(identity))
        for stray in folder.rglob(".*.parquet"):  # what was being written when the last writer was killed
            stray.unlink()
        for stray in folder.rglob(".*.mp4"):
            stray.unlink()

    def parts(self) -> Iterator[dict[str, Any]]:
        """Notes of the whole files, in order."""
        number = 0
        while (path := self._path(number)).is_file():
            yield read_json(path)
            number += 1

    def note(self, number: int, **what: Any) -> None:
        """Note that file `number` is whole."""
        write_json(self._path(number), what)

    def clear(self) -> None:
        """The set is whole."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.json"
