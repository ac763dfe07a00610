"""Make a backbone of pre-trained parts from package registries, and align its projector on questions.

It is no stage of the workflow: `vlm4vla assemble-backbone` runs it once, and `backbones.NAME.checkpoint` then
names the folder that it writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from vlm4vla.backbones.assembly.card import CARD, Measured, backbone_card, record
from vlm4vla.backbones.assembly.parts import LANGUAGE, VISION, find_file, find_part
from vlm4vla.config.training import Training
from vlm4vla.core import imports
from vlm4vla.core.artefacts import file_hash, write_json, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.core.output_lock import alone
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN, QuestionSet
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.suite import choose_questions
from vlm4vla.stages.capability import score

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone

STRIDE = 32  # pixels a side of the image for one token
LARGEST = 224
PACKAGES = ("transformers", "torch", "gguf", "safetensors")
# About one question of each kind for an image, so that texts stay short: a word of the study is several
# tokens of a real tokenizer.
MIXTURE = {
    "caption": 0.3,
    "where": 1.0,
    "relation": 1.0,
    "state": 0.5,
    "colour": 0.3,
    "count": 0.3,
    "existence": 0.3,
    "pointing": 0.2,
}
SETS = ("where", "colour", "count", "relation", "existence", "pointing", "state")
BATCH = 16
HELD_OUT_BATCHES = 8
CHECKPOINT_EVERY = 50  # updates
RECORD = "assembly.json"
Trained = Literal["projector", "language"]
WORDS = {"projector": "the weights of the projector", "language": "the projector and the kept layers"}
RATES = {"projector": 2e-3, "language": 5e-4}  # learning rates


def run(
    *,
    vision: str,
    language: str,
    layers: int,
    image_size: int,
    questions: Path | None,
    updates: int,
    trained: Trained,
    asked: int,
    output: Path,
    seed: int = 0,
) -> None:
    """Write the Hugging Face folder `output`. An interrupted training resumes.

    `layers`: how many layers of the language model are kept. `questions`: the folder of the stage questions;
    without it, the projector stays random. `updates`, `trained`: the training. `asked`: held-out questions of
    each set, before and after it. A folder that was made with the same numbers stays as it is. Raises
    UserError, before any work, for another existing folder, a missing package, a file with another SHA-256,
    and for numbers that do not fit.
    """
    eye, tongue = find_part(vision, VISION, "--vision"), find_part(language, LANGUAGE, "--language")
    numbers = {"layers": layers, "image_size": image_size, "trained": trained, "updates": updates}
    if output.exists():
        _check_same(output, numbers)
        print(f"{output}: exists already, with these numbers")
        return
    if not 1 <= layers <= tongue.layers:
        raise UserError(
            f"--layers {layers}: {tongue.package} has {tongue.layers}: write 1 to {tongue.layers}"
        )
    if image_size % STRIDE or not STRIDE < image_size <= LARGEST:
        raise UserError(
            f"--image-size {image_size}: write a multiple of {STRIDE} from {2 * STRIDE} to {LARGEST}"
        )
    for option, number in (("--updates", updates), ("--asked", asked)):
        if number < 1:
            raise UserError(f"{option} {number}: write a number above 0")
    sets = {split: read_questions(questions, split) for split in (TRAIN, HELD_OUT)} if questions else {}
    files = find_file(eye), find_file(tongue)
    unfinished = output.with_name(f".{output.name}.unfinished")
    with alone(unfinished):
        imports.load(*imports.MODULES["backbone"])
        from vlm4vla.training.components.devices import set_threads

        set_threads()
        backbone = _assembled(*files, layers, image_size, seed)
        facts = record(eye, tongue, **numbers)
        measured: list[Measured] = []
        if sets:
            facts["questions"] = file_hash(questions / "provenance.json")
            measured = _align(backbone, sets, unfinished, facts, trained, updates, asked, seed)
        backbone.save(unfinished)
        packages = {name: metadata.version(name) for name in PACKAGES}
        text = backbone_card(
            eye,
            tongue,
            layers=layers,
            image_size=image_size,
            image_tokens=backbone.adapter.image_tokens,
            trained=WORDS[trained],
            updates=updates if sets else 0,
            measured=measured,
            packages=packages,
        )
        write_text(unfinished / CARD, text)
        write_json(unfinished / RECORD, facts | {"measured": [each._asdict() for each in measured]})
        shutil.rmtree(unfinished / "checkpoints", ignore_errors=True)
        (unfinished / ".lock").unlink(missing_ok=True)
        unfinished.rename(output)


def _check_same(output: Path, numbers: Mapping[str, int | str]) -> None:
    """Raise UserError unless the folder `output` was made with `numbers`."""
    try:
        made = json.loads((output / RECORD).read_text())
    except (OSError, ValueError):
        made = None
    for name, value in numbers.items():
        found = made.get(name) if isinstance(made, dict) else None
        if found != value:
            with_what = "" if found is None else f" with {name} {found} instead of {value}"
            raise UserError(
                f"{output}: exists already{with_what}: write another folder in --output, or delete this one"
            )


def _assembled(vision: Path, language: Path, layers: int, image_size: int, seed: int) -> LoadedBackbone:
    from vlm4vla.backbones.assembly.assembled import assembled
    from vlm4vla.backbones.assembly.language import first_layers, read_model, read_tokenizer
    from vlm4vla.backbones.assembly.vision import lite_config, read_weights, vision_encoder

    tokenizer = read_tokenizer(language)
    kept = first_layers(read_model(language), layers, len(tokenizer))
    eye = vision_encoder(read_weights(vision), lite_config(image_size))
    return assembled(eye, kept, tokenizer, seed)


def _align(
    backbone: LoadedBackbone,
    sets: dict[str, QuestionSet],
    folder: Path,
    facts: dict[str, object],
    trained: Trained,
    updates: int,
    asked: int,
    seed: int,
) -> list[Measured]:
    """Train the projector, or also the kept layers, and measure the model before and after.

    The last row has the trained layers, but again the random projector: what it answers without the image.
    """
    from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective
    from vlm4vla.training.loop import train

    projector = backbone.model.model.multi_modal_projector
    random = {name: value.clone() for name, value in projector.state_dict().items()}
    measured = [_measure("before, with a random projector", backbone, sets[HELD_OUT], asked)]
    parts = [projector]
    if trained == "language":
        parts += [backbone.model.model.language_model.layers, backbone.model.model.language_model.norm]
    backbone.model.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    training = Training(
        steps=updates,
        batch=BATCH,
        optimiser={
            "learning_rate": RATES[trained],
            "betas": (0.9, 0.98),
            "weight_decay": 0.02,
            "average": 0.99,
        },
        checkpoint_every=CHECKPOINT_EVERY,
    )
    train(
        QuestionObjective(backbone),
        QuestionBatches(backbone, sets[TRAIN], MIXTURE, BATCH, seed),
        training=training,
        seed=seed,
        folder=folder,
        identity=facts,
        title="alignment",
    )
    backbone.model.requires_grad_(True)
    measured.append(_measure(f"after {updates} updates", backbone, sets[HELD_OUT], asked))
    learnt = {name: value.clone() for name, value in projector.state_dict().items()}
    projector.load_state_dict(random)
    measured.append(_measure("after them, with the random projector", backbone, sets[HELD_OUT], asked))
    projector.load_state_dict(learnt)
    return measured


def _measure(name: str, backbone: LoadedBackbone, questions: QuestionSet, asked: int) -> Measured:
    """Loss and accuracies on held-out questions, which are printed, too."""
    import torch

    from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective

    backbone.model.eval()
    batches = QuestionBatches(backbone, questions, MIXTURE, BATCH, 0)
    objective = QuestionObjective(backbone)
    with torch.inference_mode():
        losses = [
            objective(batches.batch(batches.ids(index), np.random.default_rng(index))).item()
            for index in range(HELD_OUT_BATCHES)
        ]
    correct = {
        each: score(backbone, questions, choose_questions(questions, each, asked))["score"] for each in SETS
    }
    found = Measured(name, float(np.mean(losses)), correct)
    shares = ", ".join(f"{each} {100 * share:.0f} %" for each, share in correct.items())
    print(f"{name}: loss {found.loss:.3f}; correct: {shares}", flush=True)
    return found
