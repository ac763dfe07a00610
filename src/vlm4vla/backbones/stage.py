"""The stage backbone: a tiny one is pre-trained on generated questions, a real checkpoint is put in place."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from vlm4vla.artefacts import Provenance, UserError, file_hash
from vlm4vla.settings import BackboneSettings

ALIGNMENT = "alignment"  # subfolder with that training's log
PARTS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # what a Hugging Face folder needs here


def run(settings: BackboneSettings, *, questions: Path, output: Path) -> None:
    """Write the backbone's Hugging Face folder to `output`; resumes a pre-training that was killed."""
    inputs = {"questions": questions / "provenance.json"}
    provenance = Provenance("backbone", settings.model_dump(mode="json"), inputs, settings.seed)
    (output / "provenance.json").unlink(missing_ok=True)  # what is there is not of these settings
    if settings.backbone.tiny is not None:
        _pretrain(settings, questions, output)
    else:
        _take(settings, output)
    weights = {path.name: file_hash(path) for path in sorted(output.glob("*.safetensors"))}
    provenance.write(output / "provenance.json", outputs=weights)
    for part in (output / "checkpoints", output / ALIGNMENT / "checkpoints"):
        shutil.rmtree(part, ignore_errors=True)  # not before the artefact is whole


def _pretrain(settings: BackboneSettings, questions: Path, output: Path) -> None:
    from vlm4vla.backbones import build
    from vlm4vla.data.questions import TRAIN, read_questions
    from vlm4vla.training.alignment import Alignment, AlignmentObjective, Named, PictureBatches
    from vlm4vla.training.loop import train
    from vlm4vla.training.question_batches import QuestionBatches, QuestionObjective

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


def _take(settings: BackboneSettings, output: Path) -> None:
    """Link (or copy) a local folder's files, or download a pinned revision from the hub."""
    from vlm4vla.backbones import load

    source = Path(str(settings.backbone.checkpoint))
    if not source.is_dir():
        source = _download(settings)
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.safetensors*"):  # of other settings; it must not hide a missing file
        old.unlink()
    for pattern in PARTS:
        for file in sorted(source.glob(pattern)):
            if file.name == "provenance.json":
                continue
            target = output / file.name
            target.unlink(missing_ok=True)
            try:
                os.link(file.resolve(), target)
            except OSError:  # another file system
                shutil.copy2(file, target)
    backbone = load(output)  # raises UserError when weights are missing or cut short
    if backbone.adapter.family != settings.backbone.family:
        raise UserError(
            f"backbones.{settings.name}.family: {settings.backbone.family!r}, but {source} is a "
            f"{backbone.adapter.family!r}: write that"
        )


def _download(settings: BackboneSettings) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, revision = settings.backbone.checkpoint, settings.backbone.revision
    if revision is None:
        raise UserError(
            f"backbones.{settings.name}.checkpoint: {name!r} is no local folder, and a hub name needs its "
            "commit: write `revision`, or the path of a folder"
        )
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(PARTS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"backbones.{settings.name}.checkpoint: {name!r} at {revision!r} cannot be downloaded "
            f"({reason}): check both, or write the path of a folder"
        ) from None
