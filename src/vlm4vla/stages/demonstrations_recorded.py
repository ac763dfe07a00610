"""The stage demonstrations: scripted experts solve a benchmark's tasks, recorded as a LeRobot data set."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.benchmarks.recording import recordings
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.artefacts import Provenance, file_hash
from vlm4vla.core.progress import Progress
from vlm4vla.data.lerobot.reader import GRIPPER_POINT
from vlm4vla.data.lerobot.writer import LeRobotWriter


def run(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Record the data set into `output` (LeRobot v3.0)."""
    wanted = settings.demonstrations
    provenance = Provenance("demonstrations", settings.model_dump(mode="json"), {}, wanted.seed)
    benchmark = get_benchmark(settings.benchmark)
    progress = Progress(f"demonstrations {benchmark.name}", wanted.episodes)
    with LeRobotWriter(
        output,
        fps=benchmark.fps,
        robot_type="embedded-gripper",
        image_size=settings.image_size,
        more={GRIPPER_POINT: ("column", "row")},
    ) as writer:
        for number, recording in enumerate(
            recordings(
                benchmark, wanted.episodes, wanted.noise, wanted.seed, settings.max_steps, settings.image_size
            ),
            start=1,
        ):
            writer.add_episode(
                recording.images,
                recording.states,
                recording.actions,
                recording.instruction,
                {GRIPPER_POINT: recording.points},
            )
            progress.update(number)
    files = {str(p.relative_to(output)): file_hash(p) for p in sorted((output / "data").rglob("*.parquet"))}
    provenance.write(output / "provenance.json", files=files)
