"""The stage auxiliary: fine-tune a backbone on an auxiliary task, and score the backbone before and after.

If the configuration has a `checkpoint` for the task, nothing is trained: the checkpoint is installed and
scored.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vlm4vla.auxiliary.lookup import fine_tuning_for, get_task
from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
from vlm4vla.backbones.model_hashes import model_hashes
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
    """Write the fine-tuned backbone, a Hugging Face folder, and `score.json` to `output`.

    An interrupted training resumes. If a training has several processes, each of them calls this function and
    the main process writes. Raises UserError, before the training starts, for data with another image size,
    for data that the task refuses, and for a checkpoint of another family.
    """
    inputs = {"backbone": backbone / "provenance.json", "data": data / "provenance.json"}
    provenance = Provenance("auxiliary", settings.model_dump(mode="json"), inputs, settings.seed)
    if is_main():
        (output / "provenance.json").unlink(missing_ok=True)  # an old one is not of these settings
    task = get_task(settings.task, data)
    size = read_questions(data, TRAIN).image_size
    if size != settings.image_size:
        raise UserError(
            f"{data}: images have {size} x {size} pixels, but image_size is {settings.image_size}: run the "
            "stage auxiliary-data again"
        )
    imports.load(*imports.MODULES["auxiliary"])
    from vlm4vla.backbones import load
    from vlm4vla.training.components.devices import set_threads
    from vlm4vla.training.components.precision import load_to_train

    set_threads()
    if settings.checkpoint is None:
        loaded = load_to_train(backbone, settings.training)
    else:
        loaded = load(backbone, dtype="stored")
    if settings.checkpoint is None:
        _fine_tune(settings, task, loaded, data, output, inputs)
    else:
        _install_checkpoint(settings, task, loaded, data, output)
    if not is_main():
        return
    provenance.write(output / "provenance.json", outputs=model_hashes(output))
    shutil.rmtree(output / "checkpoints", ignore_errors=True)  # only after the artefact is finished


def _fine_tune(
    settings: AuxiliarySettings,
    task: AuxiliaryTask,
    loaded: LoadedBackbone,
    data: Path,
    output: Path,
    inputs: dict[str, Path],
) -> None:
    from vlm4vla.backbones.vocabulary import save_original_vocabulary
    from vlm4vla.training.loop import train

    if not task.words_stay and is_main():
        save_original_vocabulary(loaded, output)
    fine_tuning = fine_tuning_for(task, settings, data, loaded)
    for module in loaded.vision_encoder() if task.freeze == "vision" else ():
        module.requires_grad_(False)
    loaded.model.eval()
    before = fine_tuning.score() if is_main() else {}
    train(
        fine_tuning.objective(),
        fine_tuning.samples(),
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
    fine_tuning.backbone.save(output)
    write_json(output / SCORE, {"before": before, "after": fine_tuning.score()})
    drawn = fine_tuning.drawings()
    if drawn is not None:
        from vlm4vla.report.figures.generated import PAGE, draw_generated

        draw_generated(*drawn, settings.name, output / PAGE)


def _install_checkpoint(
    settings: AuxiliarySettings, task: AuxiliaryTask, base: LoadedBackbone, data: Path, output: Path
) -> None:
    """Install the checkpoint unchanged, and score the backbone (`base`) and the checkpoint."""
    from vlm4vla.backbones import load
    from vlm4vla.backbones.installing import install
    from vlm4vla.backbones.pixel_bounds import write_pixel_bounds

    install(
        settings.checkpoint,
        settings.revision,
        output,
        key=f"auxiliary.tasks.{settings.task}",
        family=base.adapter.family,
        required_by=f"backbone {settings.name!r}",
    )
    if settings.pixels is not None:
        write_pixel_bounds(output, settings.pixels, f"backbones.{settings.name}")
    (output / "train.jsonl").unlink(missing_ok=True)  # of an earlier training with other settings
    scores = {}
    for when, backbone in (("before", base), ("after", load(output, dtype="stored"))):
        fine_tuning = fine_tuning_for(task, settings, data, backbone)
        fine_tuning.backbone.model.eval()
        scores[when] = fine_tuning.score()
    write_json(output / SCORE, scores)
