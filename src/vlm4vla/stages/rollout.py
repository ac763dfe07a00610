"""The `rollout` stage: evaluates a policy on a benchmark's fixed initial states."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.config.stages import RolloutSettings
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
from vlm4vla.evaluation.rollouts.runner import FILM_EVERY, Stage, run_batch

SHARD = 50  # episodes that step together; a killed rollout loses at most these
ZOOM = 3
CHAINS = "calvin"  # the one benchmark whose episodes ask several instructions; the analysis knows it


def _actor(settings: RolloutSettings, vla: Path | None) -> actors.Actor:
    horizon = settings.evaluation.execution_horizon
    benchmark = get_benchmark(settings.benchmark)
    if settings.policy == "expert":
        return actors.Expert(benchmark)
    if settings.policy == "random":
        return actors.Random(benchmark, settings.evaluation.seed, horizon)
    assert vla is not None
    return actors.Vla(vla, horizon, settings.evaluation.seed)


def _write_film(path: Path, frames: list[np.ndarray], fps: int) -> None:
    pictures = [
        Image.fromarray(frame).resize((frame.shape[1] * ZOOM, frame.shape[0] * ZOOM), 0) for frame in frames
    ]
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * FILM_EVERY / fps),
            loop=0,
        )


def run(
    settings: RolloutSettings, *, vla: Path | None = None, demonstrations: Path | None = None, output: Path
) -> None:
    """Write `episodes.parquet`, `shards/` and `videos/*.gif`; finished shards are not run again.

    `demonstrations` is for reference policies on real simulators (vlm4vla/evaluation/simulators), which
    keep no films.
    """
    evaluation = settings.evaluation
    if evaluation.simulator is not None:
        from vlm4vla.stages import rollout_simulator as simulators

        simulators.run(settings, vla=vla, demonstrations=demonstrations, output=output)
        return
    inputs = {"vla": vla / "provenance.json"} if vla else {}
    dumped = settings.model_dump(mode="json")
    provenance = Provenance("rollout", dumped, inputs, evaluation.seed)
    checkpoint = checkpoint_hash(vla) if vla else settings.policy
    benchmark = get_benchmark(settings.benchmark)
    episodes = benchmark.evaluation(evaluation.episodes, evaluation.seed)
    if benchmark.name != CHAINS and any(len(episode.tasks) != 1 for episode in episodes):
        raise UserError(
            f"benchmarks.{benchmark.name}: an episode has several instructions: write one `Task` an episode, "
            "with several skills"
        )

    (output / "provenance.json").unlink(missing_ok=True)
    shards, identity = output / "shards", settings_hash(dumped | {"checkpoint": checkpoint})
    mark = shards / "identity"
    if not mark.exists() or mark.read_text() != identity:  # shards of another policy or protocol
        shutil.rmtree(shards, ignore_errors=True)
        shutil.rmtree(output / "videos", ignore_errors=True)
        write_text(mark, identity)
    paths = []
    actor, stage = None, Stage(settings.image_size)
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
            stage,
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


__all__ = ["checkpoint_hash", "run"]
