"""Records of the complete files of an unfinished dataset, from which an interrupted writer resumes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm4vla.core.artefacts import write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.lerobot.reader import read_json

SUBFOLDER = ".unfinished"


class UnfinishedDataset:
    """The records of an unfinished dataset, in a subfolder that is deleted when the dataset is complete.

    Raises UserError if `folder` contains an unfinished dataset with another `identity`, or other files.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.folder = folder / SUBFOLDER
        path = self.folder / "identity.json"
        if path.is_file():
            found = read_json(path)
            if found != dict(identity):
                raise UserError(
                    f"{folder}: contains an unfinished dataset of another source, {found}: write another "
                    "folder, or delete this one"
                )
        elif folder.is_dir() and any(not inside.name.startswith(".") for inside in folder.iterdir()):
            raise UserError(f"{folder}: is not empty and not an unfinished dataset: write another folder")
        else:
            write_json(path, dict(identity))
        for stray in folder.rglob(".*.parquet"):  # files that a killed writer left incomplete
            stray.unlink()
        for stray in folder.rglob(".*.mp4"):
            stray.unlink()

    def parts(self) -> Iterator[dict[str, Any]]:
        """Yield the records of the complete files, in order."""
        number = 0
        while (path := self._path(number)).is_file():
            yield read_json(path)
            number += 1

    def record_part(self, number: int, **values: Any) -> None:
        """Record `values` for file `number`, which is complete."""
        write_json(self._path(number), values)

    def clear(self) -> None:
        """Delete the records, because the dataset is complete."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.json"
