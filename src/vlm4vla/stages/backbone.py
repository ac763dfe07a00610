"""The stage backbone: pre-train a tiny backbone on generated questions, or install a released checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.backbones import build
from vlm4vla.backbones.installing import install
from vlm4vla.backbones.model_hashes import model_hashes
from vlm4vla.backbones.pixel_bounds import write_pixel_bounds
from vlm4vla.config.stages import BackboneSettings
from vlm4vla.core import imports
from vlm4vla.core.artefacts import Provenance, file_hash, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.study.results_folder import read_json

EXAMPLE = "open the drawer"
if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone

ALIGNMENT = "alignment"  # subfolder with the log of the contrastive training


def run(settings: BackboneSettings, *, questions: Path | None, output: Path) -> None:
    """Write the backbone, a Hugging Face folder, to `output`. An interrupted pre-training resumes.

    `questions`: the training data of a tiny backbone; None for a checkpoint. Raises UserError for a tiny
    backbone without questions.
    """
    inputs = {"questions": questions / "provenance.json"} if questions else {}
    provenance = Provenance("backbone", settings.model_dump(mode="json"), inputs, settings.seed)
    (output / "provenance.json").unlink(missing_ok=True)  # an old one is not of these settings
    if settings.backbone.tiny is not None:
        if questions is None:
            raise UserError(
                f"backbone {settings.name}: a tiny backbone is pre-trained on questions: write --questions"
            )
        _pretrain(settings, questions, output)
    else:
        from vlm4vla.backbones.checkpoint import load_meta
        from vlm4vla.backbones.finite import check_finite_files
        from vlm4vla.backbones.generic.image_bound import bound_image_tokens
        from vlm4vla.backbones.generic.parts import with_part_names

        install(
            settings.backbone.checkpoint,
            settings.backbone.revision,
            output,
            key=f"backbones.{settings.name}",
            family=settings.backbone.family,
        )
        if settings.backbone.pixels is not None:
            write_pixel_bounds(output, settings.backbone.pixels, f"backbones.{settings.name}")
        key = f"backbones.{settings.name}"
        if settings.backbone.parts is not None:
            file = output / "config.json"
            write_json(file, with_part_names(json.loads(file.read_text()), settings.backbone.parts))
        if settings.backbone.image_tokens is not None:
            size = load_meta(output).image_size
            bound_image_tokens(output, settings.backbone.image_tokens, size, f"{key}.image_tokens")
        _say(load_meta(output), settings.name)
        check_finite_files(output, f"write another checkpoint in backbones.{settings.name}")
    provenance.write(output / "provenance.json", outputs=model_hashes(output))
    for part in (output / "checkpoints", output / ALIGNMENT / "checkpoints"):
        shutil.rmtree(part, ignore_errors=True)  # only after the artefact is finished


def _pretrain(settings: BackboneSettings, questions: Path, output: Path) -> None:
    imports.load(*imports.MODULES["backbone"])
    from vlm4vla.data.questions.dataset import TRAIN
    from vlm4vla.data.questions.reading import read_questions
    from vlm4vla.training.batches.alignment import (
        Alignment,
        AlignmentBatches,
        AlignmentObjective,
        PatchLabels,
    )
    from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective
    from vlm4vla.training.loop import train

    recipe = settings.recipe
    if recipe is None:
        raise UserError(
            f"backbones.{settings.name}.pretraining: a tiny backbone needs a recipe: add this key"
        )
    words = _vocabulary(questions / "vocabulary.json")
    pictures = read_questions(questions, TRAIN)
    if pictures.image_size != settings.image_size:
        raise UserError(
            f"{questions}: images have {pictures.image_size} x {pictures.image_size} pixels, but image_size "
            f"is {settings.image_size}: run the stage questions again"
        )
    backbone = build(settings.backbone, settings.name, words, settings.image_size, settings.seed)
    batch = recipe.training.batch
    identity = {
        "settings": settings.model_dump(mode="json"),
        "questions": file_hash(questions / "provenance.json"),
    }
    patch_labels = alignment = None
    weight = 0.0
    if settings.alignment is not None:
        patch_labels = PatchLabels(backbone, pictures)
        alignment = Alignment(backbone, patch_labels.word_ids)
        weight = settings.alignment.weight
        train(
            AlignmentObjective(backbone, alignment),
            AlignmentBatches(backbone, patch_labels, settings.alignment.training.batch, settings.seed),
            training=settings.alignment.training,
            seed=settings.seed,
            folder=output / ALIGNMENT,
            identity=identity,
            title=f"alignment {settings.name}",
        )
        backbone.model.requires_grad_(True)  # the contrastive training does not use the language model
    train(
        QuestionObjective(backbone, alignment, weight),
        QuestionBatches(backbone, pictures, dict(recipe.mixture), batch, settings.seed, patch_labels),
        training=recipe.training,
        seed=settings.seed,
        folder=output,
        identity=identity,
        title=f"pre-training {settings.name}",
    )
    _say(backbone, settings.name)
    backbone.save(output)


def _say(backbone: LoadedBackbone, name: str) -> None:
    """Print how many tokens an image has."""
    adapter, side = backbone.adapter, backbone.image_size
    print(
        f"backbone {name}: an image of {side} x {side} pixels has {adapter.image_tokens} tokens, and a "
        f"prompt {len(backbone.prompt_ids(EXAMPLE))} with them",
        flush=True,
    )


def _vocabulary(path: Path) -> list[str]:
    """The words of the study. Raises UserError for a file that does not list them."""
    words = read_json(path, "generate the questions again")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError(f"{path}: not a list of words: generate the questions again")
    return words
