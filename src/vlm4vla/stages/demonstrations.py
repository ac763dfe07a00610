"""The stage demonstrations: record a scripted expert as a LeRobot dataset, or index an existing dataset."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.artefacts import Provenance, file_hash, files_of
from vlm4vla.core.errors import UserError
from vlm4vla.core.processes import Child, exit_on_sigterm

# Program of the environment of a simulator. Its arguments: the settings as JSON, and the output folder.
IN_ENVIRONMENT = """
import sys
from pathlib import Path
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.stages.demonstrations import record_here
try:
    record_here(DemonstrationsSettings.model_validate_json(sys.argv[1]), output=Path(sys.argv[2]))
except UserError as error:
    sys.exit(f"error: {error}")
"""


def run(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Write the demonstrations of a benchmark to the folder `output`.

    Raises UserError for a dataset that cannot be used, and for an expert that fails too often.
    """
    if settings.demonstrations.dataset is not None:
        from vlm4vla.stages.demonstrations_dataset import run as index_dataset

        index_dataset(settings, output=output)
    elif settings.simulator is not None:
        record_simulator(settings, output=output)
    else:
        record_expert(settings, output=output)


def record_simulator(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Record the own experts of a real simulator in its environment (`runs.environment`).

    Raises UserError if the simulator is not installed there, if it cannot render, or if the recording fails.
    """
    from vlm4vla.evaluation.simulators.installation import check_installed

    simulator = settings.simulator
    assert simulator is not None
    check_installed(simulator, settings.benchmark)
    environment = Path(simulator.runs.environment or sys.prefix).expanduser().absolute()
    if environment == Path(sys.prefix):
        record_here(settings, output=output)
        return
    command = [
        str(environment / "bin" / "python"),
        "-c",
        IN_ENVIRONMENT,
        settings.model_dump_json(),
        str(output),
    ]
    with exit_on_sigterm(), Child(command) as child:
        status = child.wait()
    if status:
        raise UserError(
            f"benchmarks.{settings.benchmark}.demonstrations: the recording in {environment} ended "
            f"with status {status}: read the lines above"
        )


def record_here(settings: DemonstrationsSettings, *, output: Path) -> None:
    """Record the own experts of a real simulator, from the initial states that evaluations do not play."""
    simulator, wanted = settings.simulator, settings.demonstrations
    assert simulator is not None and wanted.episodes is not None
    first = simulator.convention.demonstrations_from or 0
    import_module(f"vlm4vla.evaluation.simulators.{simulator.adapter}_demonstrations").record_dataset(
        output,
        tasks=simulator.task_numbers(),
        states=range(first, first + wanted.episodes),
        size=settings.image_size,
        rendered=simulator.params.get("image_size"),
        max_steps=settings.max_steps,
        render=simulator.render,
        seed=simulator.environment_seed,
        noise=wanted.noise or 0.0,
        noise_seed=wanted.seed,
        provenance=Provenance("demonstrations", settings.model_dump(mode="json"), {}, wanted.seed),
    )


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
