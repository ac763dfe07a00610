"""The stage questions: generated images with questions and answers, and the vocabulary of the study."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.benchmarks import painter
from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.config.stages import QuestionsSettings
from vlm4vla.conventions.benchmarks import BENCHMARKS
from vlm4vla.core.artefacts import Provenance, write_json
from vlm4vla.data.questions.writer import write_split


def vocabulary() -> list[str]:
    """The words of all questions, answers and instructions, then the position tokens, in a fixed order."""
    instructions = {
        word for name in BENCHMARKS for text in get_benchmark(name).instructions() for word in text.split()
    }
    return sorted(instructions | set(painter.question_words())) + painter.place_tokens()


def run(settings: QuestionsSettings, *, output: Path) -> None:
    """Write the Arrow datasets `train/` and `held_out/`, and `vocabulary.json`, to `output`."""
    provenance = Provenance("questions", settings.model_dump(mode="json"), {}, settings.questions.seed)
    scenes = painter.Painter(settings.image_size, settings.questions.look)
    sizes = {"train": settings.questions.train_pictures, "held_out": settings.questions.held_out_pictures}
    hashes = {}
    for split, count in sizes.items():
        pictures = (scenes.draw(split, settings.questions.seed, index) for index in range(count))
        hashes[split] = write_split(output, split, pictures, count, f"questions {split}")
    write_json(output / "vocabulary.json", vocabulary())
    provenance.write(output / "provenance.json", files=hashes)
