"""The stage auxiliary-data: images, questions and answers of an auxiliary task as Arrow datasets."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.auxiliary.lookup import get_task
from vlm4vla.benchmarks.classes import PALETTE
from vlm4vla.config.stages import AuxiliaryDataSettings
from vlm4vla.core.artefacts import Provenance
from vlm4vla.data.questions.dense import write_dense
from vlm4vla.data.questions.encoded_dataset import INFO
from vlm4vla.data.questions.writer import write_split


def run(settings: AuxiliaryDataSettings, *, output: Path) -> None:
    """Write `train/` and `held_out/` to `output`, and dense.json for a task with dense maps.

    The images are generated, or come from the public datasets in the settings.
    """
    if settings.public is not None:
        from vlm4vla.auxiliary.public import writer

        writer.run(settings, output=output)
        return
    (output / INFO).unlink(missing_ok=True)  # of earlier settings with public datasets
    provenance = Provenance("auxiliary-data", settings.model_dump(mode="json"), {}, settings.seed)
    task = get_task(settings.task)
    hashes = {}
    for split, count in (("train", settings.train_pictures), ("held_out", settings.held_out_pictures)):
        pictures = task.pictures(split, count, settings.seed, settings.image_size)
        hashes[split] = write_split(output, split, pictures, count, f"{settings.task} {split}", task.dense)
    if task.dense:
        write_dense(output, PALETTE)
    provenance.write(output / "provenance.json", files=hashes)
