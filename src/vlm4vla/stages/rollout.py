"""The stage rollout: evaluate a policy on the fixed initial states of a benchmark."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.core.artefacts import (
    Provenance,
    atomic_path,
    checkpoint_hash,
    file_hash,
    settings_hash,
    write_text,
)
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.evaluation import records
from vlm4vla.evaluation.rollouts import actors
from vlm4vla.evaluation.rollouts.runner import FILM_EVERY, WorldPool, run_batch

SHARD = 50  # episodes that step together; an interrupted rollout loses at most so many
ZOOM = 3  # a film has so many times the pixels of an image in each direction


def _actor(settings: RolloutSettings, vla: Path | None) -> actors.Actor:
    horizon = settings.evaluation.execution_horizon
    benchmark = get_benchmark(settings.benchmark)
    if settings.policy == "expert":
        return actors.ScriptedExpert(benchmark)
    if settings.policy == "random":
        return actors.RandomActor(benchmark, settings.evaluation.seed, horizon)
    assert vla is not None
    evaluation = settings.evaluation
    return actors.PolicyActor(vla, horizon, evaluation.seed, evaluation.centre_crop)


def _write_film(path: Path, frames: list[np.ndarray], fps: int) -> None:
    images = [
        Image.fromarray(frame).resize((frame.shape[1] * ZOOM, frame.shape[0] * ZOOM), 0) for frame in frames
    ]
    with atomic_path(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=round(1000 * FILM_EVERY / fps),
            loop=0,
        )


def run(
    settings: RolloutSettings, *, vla: Path | None = None, demonstrations: Path | None = None, output: Path
) -> None:
    """Write `episodes.parquet`, `shards/` and `videos/*.gif` to `output`. Finished shards are not run again.

    `vla`: folder of the policy; None for reference policies. `demonstrations`: for reference policies on real
    simulators (stages/rollout_simulator.py), which write no films. Raises UserError for an episode with
    another number of tasks than the benchmark declares.
    """
    evaluation = settings.evaluation
    if evaluation.simulator is not None:
        from vlm4vla.stages import rollout_simulator

        rollout_simulator.run(settings, vla=vla, demonstrations=demonstrations, output=output)
        return
    inputs = {"vla": vla / "provenance.json"} if vla else {}
    dumped = settings.model_dump(mode="json")
    provenance = Provenance("rollout", dumped, inputs, evaluation.seed)
    checkpoint = checkpoint_hash(vla) if vla else settings.policy
    benchmark = get_benchmark(settings.benchmark)
    episodes = benchmark.evaluation(evaluation.episodes, evaluation.seed)
    expected = facts(benchmark.name).instructions_per_episode
    for episode in episodes:
        if len(episode.tasks) != expected:
            raise UserError(
                f"benchmarks.{benchmark.name}: an episode has {len(episode.tasks)} tasks, but "
                f"instructions_per_episode is {expected}: write `instructions_per_episode = "
                f"{len(episode.tasks)}` in the benchmark's class, or one `Task` with several skills"
            )

    (output / "provenance.json").unlink(missing_ok=True)
    shards, identity = output / "shards", settings_hash(dumped | {"checkpoint": checkpoint})
    mark = shards / "identity"
    if not mark.exists() or mark.read_text() != identity:  # the shards are of another policy or protocol
        shutil.rmtree(shards, ignore_errors=True)
        shutil.rmtree(output / "videos", ignore_errors=True)
        write_text(mark, identity)
    paths = []
    actor, pool = None, WorldPool(settings.image_size)
    title = f"rollout {settings.backbone} {settings.variant} {settings.benchmark}"
    progress = Progress(title, len(episodes), len(list(shards.glob("*.parquet"))) * SHARD)
    for first in range(0, len(episodes), SHARD):
        part = episodes[first : first + SHARD]
        path = shards / f"{first:05d}.parquet"
        paths.append(path)
        if path.exists():
            continue
        actor = actor or _actor(settings, vla)
        outcomes = run_batch(
            pool,
            benchmark,
            actor,
            part,
            first,
            max_steps=evaluation.max_steps,
            seed=evaluation.seed,
            filmed=evaluation.videos,
        )
        for number, outcome in enumerate(outcomes, start=first):
            if outcome.frames:
                _write_film(output / "videos" / f"episode{number:04d}.gif", outcome.frames, benchmark.fps)
        records.write(path, records.table(settings, checkpoint, part, outcomes, first))
        progress.update(first + len(part))
    rows = records.merge(paths, output / "episodes.parquet", len(episodes))
    files = {"episodes.parquet": file_hash(output / "episodes.parquet")}
    provenance.write(output / "provenance.json", checkpoint=checkpoint, files=files, **_summary(rows))


def _summary(rows: pa.Table) -> dict[str, float | int]:
    solved = rows["solved"].to_numpy()
    return {"episodes": len(solved), "mean_solved": float(np.mean(solved))}
