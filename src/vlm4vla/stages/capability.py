"""The stage capability: how many held-out questions of each set a backbone answers exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm4vla.config.stages import CapabilitySettings
from vlm4vla.core import imports
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.data.questions.dataset import HELD_OUT, Questions
from vlm4vla.data.questions.reading import read_questions
from vlm4vla.data.questions.suite import Asked, choose

if TYPE_CHECKING:
    from vlm4vla.backbones.loaded import LoadedBackbone

BATCH = 64


def run(settings: CapabilitySettings, *, backbone: Path, questions: Path, output: Path) -> None:
    """Write the JSON file `output`: score, correct and questions for each set and overall."""
    inputs = {"backbone": backbone / "provenance.json", "questions": questions / "provenance.json"}
    provenance = Provenance("capability", settings.model_dump(mode="json"), inputs, None)
    held_out = read_questions(questions, HELD_OUT)
    wanted = settings.capability
    suites = {name: choose(held_out, name, wanted.questions_per_set) for name in wanted.sets}

    imports.load(*imports.MODULES["capability"])
    from vlm4vla.backbones import load
    from vlm4vla.training.components.devices import set_threads

    set_threads()
    loaded = load(backbone)
    loaded.model.eval()
    sets = {name: score(loaded, held_out, suite) for name, suite in suites.items()}
    totals = {key: sum(entry[key] for entry in sets.values()) for key in ("correct", "questions")}
    overall = {"score": totals["correct"] / totals["questions"], **totals}
    write_json(output, {"sets": sets, "overall": overall, "provenance": provenance.record()})


def score(backbone: LoadedBackbone, questions: Questions, suite: list[Asked]) -> dict[str, Any]:
    """Exact match of greedy answers: `score` = `correct` / `questions`."""
    from vlm4vla.backbones.answering import greedy_answers

    longest = max(len(backbone.answer_ids(answer)) for asked in suite for answer in asked.answers)
    correct = 0
    for begin in range(0, len(suite), BATCH):
        part = suite[begin : begin + BATCH]
        images = questions.images([asked.picture for asked in part])
        found = greedy_answers(backbone, images, [asked.question for asked in part], longest)
        correct += sum(answer in asked.answers for answer, asked in zip(found, part, strict=True))
    return {"score": correct / len(suite), "correct": correct, "questions": len(suite)}
