"""The stage auxiliary-data: an auxiliary task's pictures, questions and answers as Arrow data sets."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.artefacts import Provenance
from vlm4vla.auxiliary import get_task
from vlm4vla.settings import AuxiliaryDataSettings
from vlm4vla.simulation.questions_writer import write_split


def run(settings: AuxiliaryDataSettings, *, output: Path) -> None:
    """Make `train/` and `held_out/` in `output`."""
    provenance = Provenance("auxiliary-data", settings.model_dump(mode="json"), {}, settings.seed)
    task = get_task(settings.task)
    hashes = {}
    for split, count in (("train", settings.train_pictures), ("held_out", settings.held_out_pictures)):
        pictures = task.pictures(split, count, settings.seed, settings.image_size)
        hashes[split] = write_split(output, split, pictures, count, f"{settings.task} {split}")
    provenance.write(output / "provenance.json", files=hashes)
