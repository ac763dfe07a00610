"""The stage auxiliary-data: an auxiliary task's pictures, questions and answers as Arrow data sets."""

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
    """Make `train/` and `held_out/` in `output`, and for a task with dense maps dense.json.

    Of generated pictures, or of the public sets that the settings name.
    """
    if settings.public is not None:
        from vlm4vla.auxiliary.public import writer

        writer.run(settings, output=output)
        return
    (output / INFO).unlink(missing_ok=True)  # of public sets that other settings asked for
    provenance = Provenance("auxiliary-data", settings.model_dump(mode="json"), {}, settings.seed)
    task = get_task(settings.task)
    hashes = {}
    for split, count in (("train", settings.train_pictures), ("held_out", settings.held_out_pictures)):
        pictures = task.pictures(split, count, settings.seed, settings.image_size)
        hashes[split] = write_split(output, split, pictures, count, f"{settings.task} {split}", task.dense)
    if task.dense:
        write_dense(output, PALETTE)
    provenance.write(output / "provenance.json", files=hashes)
