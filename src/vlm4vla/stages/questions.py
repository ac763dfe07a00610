"""The `questions` stage: question-answer pictures as Arrow data sets, and the vocabulary of the study."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.benchmarks import painter as questions
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.config.stages import QuestionsSettings
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.data.questions.writer import write_split

BENCHMARKS = ("calvin", "bridge", "libero-10")


def vocabulary() -> list[str]:
    """Words of all questions, answers and instructions, then the place tokens; the order is fixed."""
    spoken = {
        word for name in BENCHMARKS for text in get_benchmark(name).instructions() for word in text.split()
    }
    return sorted(spoken | set(questions.words())) + questions.place_tokens()


def run(settings: QuestionsSettings, *, output: Path) -> None:
    """Make `train/`, `held_out/` (columns image, statements, scene) and `vocabulary.json` in `output`."""
    provenance = Provenance("questions", settings.model_dump(mode="json"), {}, settings.questions.seed)
    painter = questions.Painter(settings.image_size, settings.questions.look)
    sizes = {"train": settings.questions.train_pictures, "held_out": settings.questions.held_out_pictures}
    hashes = {}
    for split, count in sizes.items():
        drawn = (painter.draw(split, settings.questions.seed, index) for index in range(count))
        hashes[split] = write_split(output, split, drawn, count, f"questions {split}")
    write_json(output / "vocabulary.json", vocabulary())
    provenance.write(output / "provenance.json", files=hashes)
