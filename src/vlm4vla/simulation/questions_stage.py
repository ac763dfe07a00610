"""The `questions` stage: question-answer pictures as Arrow data sets, and the vocabulary of the study."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlm4vla.artefacts import Provenance, file_hash, write_json
from vlm4vla.config import QuestionsSettings
from vlm4vla.progress import Progress
from vlm4vla.simulation import questions
from vlm4vla.simulation.tasks import get_benchmark

BENCHMARKS = ("calvin", "bridge", "libero-10")
ROWS_A_SHARD = 512


def vocabulary() -> list[str]:
    """Words of all questions, answers and instructions, then the place tokens; the order is fixed."""
    spoken = {
        word for name in BENCHMARKS for text in get_benchmark(name).instructions() for word in text.split()
    }
    return sorted(spoken | set(questions.words())) + questions.place_tokens()


def _rows(painter: questions.Painter, split: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
    progress = Progress(f"questions {split}", count)
    for index in range(count):
        picture = painter.draw(split, seed, index)
        progress.update(index + 1)
        yield {
            "image": picture.image.tobytes(),
            "statements": [
                {"set": s.set, "question": s.question, "answer": s.answer} for s in picture.statements
            ],
            "scene": index,
        }


def run(settings: QuestionsSettings, *, output: Path) -> None:
    """Make `train/`, `held_out/` (columns image, statements, scene) and `vocabulary.json` in `output`."""
    import datasets  # half a second that other commands need not wait for

    provenance = Provenance("questions", settings.model_dump(mode="json"), {}, settings.questions.seed)
    statement = {name: datasets.Value("string") for name in ("set", "question", "answer")}
    features = datasets.Features(
        {"image": datasets.Value("binary"), "statements": [statement], "scene": datasets.Value("int64")}
    )
    painter = questions.Painter(settings.image_size, settings.questions.look)
    output.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    sizes = {"train": settings.questions.train_pictures, "held_out": settings.questions.held_out_pictures}
    hashes = {}
    for split, count in sizes.items():
        folder, scratch = output / split, output / f".{split}.part"
        shutil.rmtree(scratch, ignore_errors=True)
        with datasets.arrow_writer.ArrowWriter(
            features=features, path=str(_made(scratch) / "data.arrow"), writer_batch_size=ROWS_A_SHARD
        ) as writer:
            for row in _rows(painter, split, count, settings.questions.seed):
                writer.write(row)
            writer.finalize()
        dataset = datasets.Dataset.from_file(str(scratch / "data.arrow"))
        dataset.save_to_disk(scratch / "saved")
        shutil.rmtree(folder, ignore_errors=True)
        (scratch / "saved").rename(folder)
        shutil.rmtree(scratch)
        hashes[split] = {p.name: file_hash(p) for p in sorted(folder.glob("*.arrow"))}
    write_json(output / "vocabulary.json", vocabulary())
    provenance.write(output / "provenance.json", files=hashes)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
