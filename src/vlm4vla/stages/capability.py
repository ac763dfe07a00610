"""The stage capability: how many held-out questions of each set a backbone answers correctly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm4vla.config.stages import CapabilitySettings
from vlm4vla.core import imports
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.data.questions.dataset import HELD_OUT, QuestionSet
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.suite import SuiteQuestion, choose_questions

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone

BATCH = 64


def run(settings: CapabilitySettings, *, backbone: Path, questions: Path, output: Path) -> None:
    """Write the JSON file `output`: `score`, `correct` and `questions` of each set and overall."""
    inputs = {"backbone": backbone / "provenance.json", "questions": questions / "provenance.json"}
    provenance = Provenance("capability", settings.model_dump(mode="json"), inputs, None)
    held_out = read_questions(questions, HELD_OUT)
    count = settings.capability.questions_per_set
    suites = {name: choose_questions(held_out, name, count) for name in settings.capability.sets}

    imports.load(*imports.MODULES["capability"])
    from vlm4vla.backbones import load
    from vlm4vla.training.components.devices import set_threads

    set_threads()
    loaded = load(backbone, dtype="stored")
    loaded.model.eval()
    sets = {name: score(loaded, held_out, suite) for name, suite in suites.items()}
    totals = {key: sum(entry[key] for entry in sets.values()) for key in ("correct", "questions")}
    overall = {"score": totals["correct"] / totals["questions"], **totals}
    write_json(output, {"sets": sets, "overall": overall, "provenance": provenance.record()})


def score(backbone: LoadedBackbone, questions: QuestionSet, suite: list[SuiteQuestion]) -> dict[str, Any]:
    """Compare greedy answers with the correct ones: `score` = `correct` / `questions`."""
    from vlm4vla.backbones.logits import greedy_answers

    longest = max(len(backbone.answer_ids(answer)) for each in suite for answer in each.answers)
    correct = 0
    for begin in range(0, len(suite), BATCH):
        batch = suite[begin : begin + BATCH]
        images = questions.images([each.picture for each in batch])
        answers = greedy_answers(backbone, images, [each.question for each in batch], longest)
        correct += sum(answer in each.answers for answer, each in zip(answers, batch, strict=True))
    return {"score": correct / len(suite), "correct": correct, "questions": len(suite)}
