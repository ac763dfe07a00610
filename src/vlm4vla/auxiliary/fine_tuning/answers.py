"""Fine-tuning on text answers: next-token loss, and a score of greedy answers to held-out questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm4vla.analysis.intervals import wilson
from vlm4vla.auxiliary.fine_tuning.base import FineTuning, mean_score
from vlm4vla.backbones.logits import greedy_answers
from vlm4vla.backbones.vocabulary import add_words, has_word_tokens
from vlm4vla.config.stages import AuxiliarySettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN, QuestionSet
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.suite import choose_questions
from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective

if TYPE_CHECKING:
    from vlm4vla.auxiliary.tasks.base import AuxiliaryTask
    from vlm4vla.backbones.loaded import LoadedBackbone

BATCH = 64  # questions answered at once
SLACK = 16  # upper bound of the tokens that a family adds around a question and its answer


class AnswerFineTuning(FineTuning):
    """Fine-tuning on a task whose answers are text.

    Raises UserError for an answer that cannot be correct, or that is too long for the backbone's context.
    """

    def __init__(
        self, task: AuxiliaryTask, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone
    ):
        self.task = task
        self.settings = settings
        splits = (read_questions(data, TRAIN), read_questions(data, HELD_OUT))
        for split in splits:
            check_answers(split, task)
        self.train, self.held_out = (reword_for_family(split, task, backbone) for split in splits)
        self.suite = choose_questions(self.held_out, task.name, settings.questions)
        if has_word_tokens(backbone):  # a real tokenizer can spell any word and needs no new ones
            backbone = add_words(backbone, collect_words(self.train, self.held_out))
        check_context(backbone, self.train, data)
        self.backbone = backbone

    def objective(self) -> QuestionObjective:
        return QuestionObjective(self.backbone)

    def samples(self) -> QuestionBatches:
        mixture = {self.task.name: self.task.statements_a_picture}
        batch = self.settings.training.batch
        return QuestionBatches(self.backbone, self.train, mixture, batch, self.settings.seed)

    def score(self) -> dict[str, Any]:
        """Return the mean score of greedy answers over the held-out questions, with a 95 % interval.

        The interval is Wilson's if every answer scores 0 or 1, and a normal approximation otherwise. `chance`
        is the expected score of answers that ignore the image.
        """
        longest = max(
            len(self.backbone.answer_ids(answer)) for question in self.suite for answer in question.answers
        )
        values = []
        for begin in range(0, len(self.suite), BATCH):
            part = self.suite[begin : begin + BATCH]
            images = self.held_out.images([question.picture for question in part])
            answers = greedy_answers(self.backbone, images, [each.question for each in part], longest)
            for answer, question in zip(answers, part, strict=True):
                values.append(max(self.task.score(answer, truth) for truth in question.answers))
        chances = [
            max(self.task.chance(each.question, truth) for truth in each.answers) for each in self.suite
        ]
        score = mean_score(values, len(values))
        if set(values) <= {0.0, 1.0}:
            score["ci_low"], score["ci_high"] = wilson(sum(values), len(values))
        return score | {"chance": sum(chances) / len(chances)}


def collect_words(*splits: QuestionSet) -> list[str]:
    """Return every word of the questions and answers, sorted."""
    return sorted(
        {
            word
            for split in splits
            for statement in split.statements
            for word in f"{statement.question} {statement.answer}".split()
        }
    )


def reword_for_family(questions: QuestionSet, task: AuxiliaryTask, backbone: LoadedBackbone) -> QuestionSet:
    """Return the same images with each question rewritten for the prompt of the backbone's family."""
    return questions.reworded(lambda question: task.asked(backbone.adapter, question))


def check_answers(questions: QuestionSet, task: AuxiliaryTask) -> None:
    """Raise UserError if the task knows that an answer is wrong, whatever the image."""
    for statement in questions.statements:
        fault = task.fault(statement.answer)
        if fault is not None:
            raise UserError(f"{questions.folder}: the answer to {statement.question!r}: {fault}")


def check_context(backbone: LoadedBackbone, questions: QuestionSet, data: Path) -> None:
    """Raise UserError if a question and its answer are together longer than the backbone's context."""
    limit = getattr(backbone.model.config.get_text_config(), "max_position_embeddings", None)
    around = len(backbone.question_ids("")) + SLACK if limit else 0
    for statement in questions.statements if limit else ():
        # A text never has more tokens than bytes. Tokenising a million short texts would take minutes.
        if around + len(f"{statement.question}{statement.answer}".encode()) <= limit:
            continue
        length = len(backbone.question_ids(statement.question)) + len(backbone.answer_ids(statement.answer))
        if length > limit:
            raise UserError(
                f"{data}: question {statement.question!r} and its answer have {length} tokens, but the "
                f"backbone reads at most {limit}: write shorter answers"
            )
