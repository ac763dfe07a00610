"""The stage demonstrations: record a scripted expert as a LeRobot dataset, or index an existing dataset."""

from __future__ import annotations

from pathlib import Path

from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.artefacts import Provenance, file_hash, files_of


def run(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Write the demonstrations of a benchmark to the folder `output`.

    Raises UserError for a dataset that cannot be used, and for an expert that fails too often.
    """
    if settings.demonstrations.dataset is not None:
        from vlm4vla.stages.demonstrations_dataset import run as index_dataset

        index_dataset(settings, output=output)
    else:
        record_expert(settings, output=output)


def record_expert(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Record episodes of the scripted expert in `output`, as a LeRobot v3.0 dataset."""
    # Imported here, because a dataset needs no simulator.
    from vlm4vla.benchmarks.base import get_benchmark
    from vlm4vla.benchmarks.recording import recordings
    from vlm4vla.core.progress import Progress
    from vlm4vla.data.lerobot.reader import GRIPPER_POINT
    from vlm4vla.data.lerobot.writer import LeRobotWriter

    wanted = settings.demonstrations
    provenance = Provenance("demonstrations", settings.model_dump(mode="json"), {}, wanted.seed)
    benchmark = get_benchmark(settings.benchmark)
    progress = Progress(f"demonstrations {benchmark.name}", wanted.episodes)
    with LeRobotWriter(
        output,
        fps=benchmark.fps,
        robot_type="embedded-gripper",
        image_size=settings.image_size,
        extra_columns={GRIPPER_POINT: ("column", "row")},
    ) as writer:
        episodes = recordings(
            benchmark, wanted.episodes, wanted.noise, wanted.seed, settings.max_steps, settings.image_size
        )
        for number, recording in enumerate(episodes, start=1):
            writer.add_episode(
                recording.images,
                recording.states,
                recording.actions,
                recording.instruction,
                {GRIPPER_POINT: recording.points},
            )
            progress.update(number)
    files = {str(p.relative_to(output)): file_hash(p) for p in files_of(output / "data", "**/*.parquet")}
    provenance.write(output / "provenance.json", files=files)
