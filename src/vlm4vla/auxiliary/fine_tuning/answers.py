"""Tasks whose answers are text: learnt by next-token loss, scored by greedy answers to held-out questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm4vla.analysis.intervals import wilson
from vlm4vla.auxiliary.fine_tuning.base import Lesson, mean_score
from vlm4vla.backbones.answering import greedy_answers
from vlm4vla.backbones.vocabulary import add_words, has_word_tokens
from vlm4vla.config.stages import AuxiliarySettings
from vlm4vla.core.errors import UserError
from vlm4vla.data.questions.dataset import HELD_OUT, TRAIN, Questions
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.suite import choose
from vlm4vla.training.batches.questions import QuestionBatches, QuestionObjective

if TYPE_CHECKING:
    from vlm4vla.auxiliary.tasks.base import Task
    from vlm4vla.backbones.loaded import LoadedBackbone

BATCH = 64
SLACK = 16  # tokens that a family puts around a question and an answer, at most


class AnswerLesson(Lesson):
    """Raises UserError for answers that cannot be true and for those that do not fit the context."""

    def __init__(self, task: Task, settings: AuxiliarySettings, data: Path, backbone: LoadedBackbone):
        self.task = task
        self.settings = settings
        splits = (read_questions(data, TRAIN), read_questions(data, HELD_OUT))
        for split in splits:
            check_answers(split, task)
        self.train, self.held_out = (as_asked(split, task, backbone) for split in splits)
        self.suite = choose(self.held_out, task.name, settings.questions)
        if has_word_tokens(backbone):  # a real tokenizer spells words that it lacks
            backbone = add_words(backbone, words(self.train, self.held_out))
        check_context(backbone, self.train, data)
        self.backbone = backbone

    def objective(self) -> QuestionObjective:
        return QuestionObjective(self.backbone)

    def samples(self) -> QuestionBatches:
        mixture = {self.task.name: self.task.statements_a_picture}
        batch = self.settings.training.batch
        return QuestionBatches(self.backbone, self.train, mixture, batch, self.settings.seed)

    def score(self) -> dict[str, Any]:
        """Mean score of greedy answers, over questions, with a 95 % interval.

        Wilson's where answers are right or wrong, normal where they are graded. `chance` is what answers that
        know nothing of the picture score.
        """
        longest = max(
            len(self.backbone.answer_ids(answer)) for asked in self.suite for answer in asked.answers
        )
        values = []
        for begin in range(0, len(self.suite), BATCH):
            part = self.suite[begin : begin + BATCH]
            images = self.held_out.images([asked.picture for asked in part])
            found = greedy_answers(self.backbone, images, [asked.question for asked in part], longest)
            for answer, asked in zip(found, part, strict=True):
                values.append(max(self.task.score(answer, truth) for truth in asked.answers))
        chances = [max(self.task.chance(a.question, true) for true in a.answers) for a in self.suite]
        score = mean_score(values, len(values))
        if set(values) <= {0.0, 1.0}:
            score["ci_low"], score["ci_high"] = wilson(sum(values), len(values))
        return score | {"chance": sum(chances) / len(chances)}


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
    return questions.reworded(lambda question: task.asked(backbone.adapter, question))


def check_answers(questions: Questions, task: Task) -> None:
    """Refuse data with an answer that the task knows to be wrong whatever the picture."""
    for statement in questions.statements:
        fault = task.fault(statement.answer)
        if fault is not None:
            raise UserError(f"{questions.folder}: the answer to {statement.question!r}: {fault}")


def check_context(backbone: LoadedBackbone, questions: Questions, data: Path) -> None:
    """Refuse a question whose text with its answer is longer than the backbone's context."""
    limit = getattr(backbone.model.config.get_text_config(), "max_position_embeddings", None)
    around = len(backbone.question_ids("")) + SLACK if limit else 0
    for statement in questions.statements if limit else ():
        # no text has more tokens than bytes, and counting the tokens of a million takes minutes
        if around + len(f"{statement.question}{statement.answer}".encode()) <= limit:
            continue
        length = len(backbone.question_ids(statement.question)) + len(backbone.answer_ids(statement.answer))
        if length > limit:
            raise UserError(
                f"{data}: the answer to {statement.question!r} makes a text of {length} tokens, the backbone "
                f"reads {limit}: write shorter answers"
            )
