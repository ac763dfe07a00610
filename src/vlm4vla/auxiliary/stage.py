"""The stage auxiliary: a backbone is fine-tuned on an auxiliary task, and asked before and after."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlm4vla.artefacts import Provenance, UserError, file_hash, write_json
from vlm4vla.auxiliary import get_task
from vlm4vla.auxiliary.task import Task
from vlm4vla.capability.suite import Asked, choose
from vlm4vla.data.questions import HELD_OUT, TRAIN, Questions, Statement, read_questions
from vlm4vla.settings import AuxiliarySettings

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone

BATCH = 64
SCORE = "score.json"


def run(settings: AuxiliarySettings, *, backbone: Path, data: Path, output: Path) -> None:
    """Write the fine-tuned backbone's Hugging Face folder and `score.json` to `output`; resumes if killed.

    Raises UserError, before training starts, for data of another picture size and for answers that do not
    fit the backbone's context.
    """
    inputs = {"backbone": backbone / "provenance.json", "data": data / "provenance.json"}
    provenance = Provenance("auxiliary", settings.model_dump(mode="json"), inputs, settings.seed)
    (output / "provenance.json").unlink(missing_ok=True)  # what is there is not of these settings
    task = get_task(settings.task, data)
    train_split, held_out = read_questions(data, TRAIN), read_questions(data, HELD_OUT)
    if train_split.image_size != settings.image_size:
        raise UserError(
            f"{data}: pictures have {train_split.image_size} pixels a side, image_size is "
            f"{settings.image_size}: make the data again"
        )
    from vlm4vla.backbones import load
    from vlm4vla.backbones.vocabulary import add_words, has_word_tokens, keep_words_before
    from vlm4vla.training.loop import set_threads, train
    from vlm4vla.training.question_batches import QuestionBatches, QuestionObjective

    set_threads()
    loaded = load(backbone)
    train_split, held_out = (as_asked(split, task, loaded) for split in (train_split, held_out))
    suite = choose(held_out, task.name, settings.questions)
    if not task.words_stay:
        keep_words_before(loaded, output)
    if has_word_tokens(loaded):  # a real tokenizer spells words that it lacks
        loaded = add_words(loaded, words(train_split, held_out))
    check_context(loaded, train_split, data)
    for module in loaded.vision_encoder() if task.freeze == "vision" else ():
        module.requires_grad_(False)
    loaded.model.eval()
    before = score(loaded, held_out, suite, task)
    train(
        QuestionObjective(loaded),
        QuestionBatches(
            loaded,
            train_split,
            {task.name: task.statements_a_picture},
            settings.training.batch,
            settings.seed,
        ),
        training=settings.training,
        seed=settings.seed,
        folder=output,
        identity={
            "settings": settings.model_dump(mode="json"),
            "inputs": {name: file_hash(path) for name, path in inputs.items()},
        },
        title=f"auxiliary {settings.name} {settings.task}",
    )
    loaded.save(output)
    write_json(output / SCORE, {"before": before, "after": score(loaded, held_out, suite, task)})
    weights = {path.name: file_hash(path) for path in sorted(output.glob("*.safetensors"))}
    provenance.write(output / "provenance.json", outputs=weights)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)  # not before the artefact is whole


def words(*splits: Questions) -> list[str]:
    """Every word of questions and answers, sorted."""
    return sorted(
        {
            word
            for split in splits
            for statement in split.statements
            for word in f"{statement.question} {statement.answer}".split()
        }
    )


def as_asked(questions: Questions, task: Task, backbone: LoadedBackbone) -> Questions:
    """The same pictures, with questions in the words in which the backbone's family is asked."""
    asked = [
        Statement(s.set, task.asked(backbone.adapter, s.question), s.answer) for s in questions.statements
    ]
    return replace(questions, statements=asked)


def check_context(backbone: LoadedBackbone, questions: Questions, data: Path) -> None:
    """Refuse a question whose text with its answer is longer than the backbone's context."""
    limit = getattr(backbone.model.config.get_text_config(), "max_position_embeddings", None)
    for statement in questions.statements if limit else ():
        length = len(backbone.question_ids(statement.question)) + len(backbone.answer_ids(statement.answer))
        if length > limit:
            raise UserError(
                f"{data}: the answer to {statement.question!r} makes a text of {length} tokens, the backbone "
                f"reads {limit}: write shorter answers"
            )


def score(backbone: LoadedBackbone, questions: Questions, suite: list[Asked], task: Task) -> dict[str, Any]:
    """Mean score of greedy answers with its 95 % interval (normal, over questions), and their number."""
    from vlm4vla.capability.answering import greedy_answers

    longest = max(len(backbone.answer_ids(answer)) for asked in suite for answer in asked.answers)
    values = []
    for begin in range(0, len(suite), BATCH):
        part = suite[begin : begin + BATCH]
        images = questions.images([asked.picture for asked in part])
        found = greedy_answers(backbone, images, [asked.question for asked in part], longest)
        for answer, asked in zip(found, part, strict=True):
            values.append(max(task.score(answer, truth) for truth in asked.answers))
    mean = float(np.mean(values))
    half = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 1.0
    return {
        "score": mean,
        "ci_low": max(0.0, mean - half),
        "ci_high": min(1.0, mean + half),
        "questions": len(values),
    }
