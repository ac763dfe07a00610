"""The stage auxiliary: a backbone is fine-tuned on an auxiliary task, and scored before and after.

Where the configuration names a `checkpoint` for the task, that is scored and taken in place of training.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.auxiliary.fine_tuning.choosing import lesson_of
from vlm4vla.auxiliary.lookup import get_task
from vlm4vla.auxiliary.tasks.base import Task
from vlm4vla.config.stages import AuxiliarySettings
from vlm4vla.core import imports
from vlm4vla.core.artefacts import Provenance, file_hash, write_json
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import TRAIN
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.training.distributed.processes import is_main

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone

SCORE = "score.json"


def run(settings: AuxiliarySettings, *, backbone: Path, data: Path, output: Path) -> None:
    """Write the backbone that knows the task, a Hugging Face folder, and `score.json` to `output`.

    A training that was killed goes on. Where it has several processes, each of them calls this, and the main
    one writes. Raises UserError, before training starts, for data of another picture size, for what the
    task's lesson refuses, and for a checkpoint of another family than the backbone's.
    """
    inputs = {"backbone": backbone / "provenance.json", "data": data / "provenance.json"}
    provenance = Provenance("auxiliary", settings.model_dump(mode="json"), inputs, settings.seed)
    if is_main():
        (output / "provenance.json").unlink(missing_ok=True)  # what is there is not of these settings
    task = get_task(settings.task, data)
    size = read_questions(data, TRAIN).image_size
    if size != settings.image_size:
        raise UserError(
            f"{data}: pictures have {size} pixels a side, image_size is {settings.image_size}: "
            "make the data again"
        )
    imports.load(*imports.MODULES["auxiliary"])
    from vlm4vla.backbones import load
    from vlm4vla.training.components.devices import set_threads

    set_threads()
    loaded = load(backbone)
    if settings.checkpoint is None:
        _fine_tune(settings, task, loaded, data, output, inputs)
    else:
        _take(settings, task, loaded, data, output)
    if not is_main():
        return
    weights = {path.name: file_hash(path) for path in sorted(output.glob("*.safetensors"))}
    provenance.write(output / "provenance.json", outputs=weights)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)  # not before the artefact is whole


def _fine_tune(
    settings: AuxiliarySettings,
    task: Task,
    loaded: LoadedBackbone,
    data: Path,
    output: Path,
    inputs: dict[str, Path],
) -> None:
    from vlm4vla.backbones.vocabulary import keep_words_before
    from vlm4vla.training.loop import train

    if not task.words_stay and is_main():
        keep_words_before(loaded, output)
    lesson = lesson_of(task, settings, data, loaded)
    for module in loaded.vision_encoder() if task.freeze == "vision" else ():
        module.requires_grad_(False)
    loaded.model.eval()
    before = lesson.score() if is_main() else {}
    train(
        lesson.objective(),
        lesson.samples(),
        training=settings.training,
        seed=settings.seed,
        folder=output,
        identity={
            "settings": settings.model_dump(mode="json"),
            "inputs": {name: file_hash(path) for name, path in inputs.items()},
        },
        title=f"auxiliary {settings.name} {settings.task}",
    )
    if not is_main():
        return
    lesson.backbone.save(output)
    write_json(output / SCORE, {"before": before, "after": lesson.score()})
    drawn = lesson.drawings()
    if drawn is not None:
        from vlm4vla.report.figures.generated import PAGE, draw_generated

        draw_generated(*drawn, settings.name, output / PAGE)


def _take(settings: AuxiliarySettings, task: Task, base: LoadedBackbone, data: Path, output: Path) -> None:
    """Put the checkpoint in place as it is, and score the base and it."""
    from vlm4vla.backbones import load
    from vlm4vla.backbones.installing import place

    place(
        settings.checkpoint,
        settings.revision,
        output,
        key=f"auxiliary.tasks.{settings.task}",
        family=base.adapter.family,
        whose=f"backbone {settings.name!r}",
    )
    (output / "train.jsonl").unlink(missing_ok=True)  # of a training that other settings asked for
    scores = {}
    for when, backbone in (("before", base), ("after", load(output))):
        lesson = lesson_of(task, settings, data, backbone)
        lesson.backbone.model.eval()
        scores[when] = lesson.score()
    write_json(output / SCORE, scores)
