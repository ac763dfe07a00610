"""The stage backbone: a tiny one is pre-trained on generated questions, a real checkpoint is put in place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from vlm4vla.backbones import build
from vlm4vla.backbones.installing import place
from vlm4vla.config.stages import BackboneSettings
from vlm4vla.core import imports
from vlm4vla.core.artefacts import Provenance, file_hash
from vlm4vla.core.errors import UserError

ALIGNMENT = "alignment"  # subfolder with that training's log


def run(settings: BackboneSettings, *, questions: Path | None, output: Path) -> None:
    """Write the backbone's Hugging Face folder to `output`; resumes a pre-training that was killed.

    `questions`: what a tiny one learns from; None for a checkpoint. Raises UserError for a tiny one without.
    """
    inputs = {"questions": questions / "provenance.json"} if questions else {}
    provenance = Provenance("backbone", settings.model_dump(mode="json"), inputs, settings.seed)
    (output / "provenance.json").unlink(missing_ok=True)  # what is there is not of these settings
    if settings.backbone.tiny is not None:
        if questions is None:
            raise UserError(f"backbone {settings.name}: a tiny one learns from questions: write --questions")
        _pretrain(settings, questions, output)
    else:
        from vlm4vla.backbones.checkpoint import check_folder

        place(
            settings.backbone.checkpoint,
            settings.backbone.revision,
            output,
            key=f"backbones.{settings.name}",
            family=settings.backbone.family,
        )
        check_folder(output)
    weights = {path.name: file_hash(path) for path in sorted(output.glob("*.safetensors"))}
    provenance.write(output / "provenance.json", outputs=weights)
    for part in (output / "checkpoints", output / ALIGNMENT / "checkpoints"):
        shutil.rmtree(part, ignore_errors=True)  # not before the artefact is whole


def _pretrain(settings: BackboneSettings, questions: Path, output: Path) -> None:
    imports.load(*imports.MODULES["backbone"])
    from vlm4vla.data.questions.dataset import TRAIN
    from vlm4vla.data.questions.reading import read_questions
    from vlm4vla.training.batches.alignment import Alignment, AlignmentObjective, Named, PictureBatches
    from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective
    from vlm4vla.training.loop import train

    recipe = settings.recipe
    if recipe is None:
        raise UserError(f"backbones.{settings.name}.pretraining: a tiny backbone needs a recipe: write one")
    words = json.loads((questions / "vocabulary.json").read_text())
    pictures = read_questions(questions, TRAIN)
    if pictures.image_size != settings.image_size:
        raise UserError(
            f"{questions}: pictures have {pictures.image_size} pixels a side, image_size is "
            f"{settings.image_size}: make the questions again"
        )
    backbone = build(settings.backbone, settings.name, words, settings.image_size, settings.seed)
    batch = recipe.training.batch
    identity = {
        "settings": settings.model_dump(mode="json"),
        "questions": file_hash(questions / "provenance.json"),
    }
    named = alignment = None
    weight = 0.0
    if settings.alignment is not None:
        named = Named(backbone, pictures)
        alignment = Alignment(backbone, named.ids)
        weight = settings.alignment.weight
        train(
            AlignmentObjective(backbone, alignment),
            PictureBatches(backbone, named, settings.alignment.training.batch, settings.seed),
            training=settings.alignment.training,
            seed=settings.seed,
            folder=output / ALIGNMENT,
            identity=identity,
            title=f"alignment {settings.name}",
        )
        backbone.model.requires_grad_(True)  # it had no use for the language model
    train(
        QuestionObjective(backbone, alignment, weight),
        QuestionBatches(backbone, pictures, dict(recipe.mixture), batch, settings.seed, named),
        training=recipe.training,
        seed=settings.seed,
        folder=output,
        identity=identity,
        title=f"pre-training {settings.name}",
    )
    backbone.save(output)
