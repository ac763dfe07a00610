"""The stage rollout: evaluate a policy on the fixed initial states of a benchmark."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vlm4vla.benchmarks.base import get_benchmark
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.conventions.episodes import SEPARATOR, Stop
from vlm4vla.core.artefacts import (
    Provenance,
    checkpoint_hash,
    file_hash,
    settings_hash,
    write_text,
)
from vlm4vla.core.errors import UserError
from vlm4vla.core.progress import Progress
from vlm4vla.core.successor import NEXT
from vlm4vla.data.parquet import read_parquet
from vlm4vla.evaluation import records
from vlm4vla.evaluation.early_stop import EarlyStop, solved_in_order
from vlm4vla.evaluation.films import FILMS, VIDEOS, film_number, film_path, write_film
from vlm4vla.evaluation.rollouts import actors
from vlm4vla.evaluation.rollouts.runner import FILM_EVERY, WorldPool, run_batch
from vlm4vla.policies.released.folder import folder_hash, rollout_folder
from vlm4vla.stages.scored_card import write_scores

SHARD = 50  # episodes that step together; an interrupted rollout loses at most so many
ZOOM = 3  # a film has so many times the pixels of an image in each direction


def _actor(settings: RolloutSettings, vla: Path | None) -> actors.Actor:
    horizon = settings.evaluation.execution_horizon
    benchmark = get_benchmark(settings.benchmark)
    if settings.policy == "expert":
        return actors.ScriptedExpert(benchmark)
    if settings.policy == "random":
        return actors.RandomActor(benchmark, settings.evaluation.seed, horizon)
    if settings.released is not None:
        return actors.ReleasedActor(rollout_folder(settings), settings)
    assert vla is not None
    evaluation = settings.evaluation
    return actors.PolicyActor(vla, horizon, evaluation.seed, evaluation.centre_crop)


def run(
    settings: RolloutSettings,
    *,
    vla: Path | None = None,
    demonstrations: Path | None = None,
    against: Path | None = None,
    output: Path,
) -> None:
    """Write `episodes.parquet`, `shards/` and `videos/*.gif` to `output`. Finished shards are not run again.

    The scores are also written on the model card of the policy (stages/scored_card.py).

    `vla`: folder of the policy; None for reference policies and released ones. `demonstrations`: for
    reference policies on real simulators (stages/rollout_simulator.py). `against`:
    folder of the rollout that `evaluation.stop` compares this one with. Then the shards are blocks, and the
    rollout ends with the block in which the comparison is decided. Raises UserError for an episode with
    another number of tasks than the benchmark declares, and for a missing or unsuitable `against`.
    """
    evaluation = settings.evaluation
    check_against(settings, against)
    if evaluation.simulator is not None:
        from vlm4vla.stages import rollout_simulator

        rollout_simulator.run(
            settings, vla=vla, demonstrations=demonstrations, against=against, output=output
        )
        return
    folders = {"vla": vla, "against": against}
    inputs = {name: folder / "provenance.json" for name, folder in folders.items() if folder}
    dumped = settings.model_dump(mode="json")
    provenance = Provenance("rollout", dumped, inputs, evaluation.seed)
    if settings.released is not None:
        checkpoint = folder_hash(rollout_folder(settings))
    else:
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

    early = None
    if against is not None:
        early = EarlyStop(settings, against / "episodes.parquet", len(episodes))
        early.check("task", [SEPARATOR.join(task.name for task in each.tasks) for each in episodes])
        early.check("initial_state", [each.initial_state for each in episodes])

    identity = settings_hash(shard_settings(dumped) | {"checkpoint": checkpoint})
    work = _work_folder(output, identity)
    shards = work / "shards"
    paths: list[Path] = []
    solved: list[int] = []
    actor, pool, stop = None, WorldPool(settings.image_size), None
    title = f"rollout {settings.backbone} {settings.variant} {settings.benchmark}"
    size = early.stop.block if early else SHARD
    progress = Progress(title, len(episodes), len(list(shards.glob("*.parquet"))) * size)
    order = early.order if early else range(len(episodes))
    for first in range(0, len(episodes), size):
        numbers = order[first : first + size]
        path = shards / f"{first:05d}.parquet"
        paths.append(path)
        if not records.is_whole(path, numbers):
            part = [episodes[number] for number in numbers]
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
                numbers=numbers,
            )
            for number, outcome in zip(numbers, outcomes, strict=True):
                if outcome.frames:
                    milliseconds = round(1000 * FILM_EVERY / benchmark.fps)
                    write_film(film_path(work, number), outcome.frames, milliseconds, ZOOM)
            records.write_shard(path, records.table(settings, checkpoint, part, outcomes, numbers))
            progress.update(first + len(part))
        if early:
            solved += solved_in_order(read_parquet(path, ["episode", "solved"]), numbers)
            stop = early.look(solved)
            if stop.reason:
                break
    if stop and stop.stopped:
        _forget(work, paths, stop)
    if work != output:
        paths = _replace(output, work, paths)
    rows = records.merge(paths, output / "episodes.parquet", len(episodes), stop)
    write_scores(vla, output / "episodes.parquet", checkpoint)
    files = {"episodes.parquet": file_hash(output / "episodes.parquet")}
    ended = {"stop": stop.summary()} if stop else {}
    provenance.write(
        output / "provenance.json", checkpoint=checkpoint, files=files, **_summary(rows), **ended
    )


def _work_folder(output: Path, identity: str) -> Path:
    """The folder of the shards and films: `output` itself, or a hidden folder in it.

    A finished rollout of another policy or protocol stays as it is until its successor is whole.
    """
    marks = {folder: folder / "shards" / "identity" for folder in (output, output / NEXT)}
    for folder, mark in marks.items():
        if mark.is_file() and mark.read_bytes() == identity.encode():
            return folder
    folder = output / NEXT if (output / "provenance.json").exists() else output
    shutil.rmtree(folder / "shards", ignore_errors=True)
    shutil.rmtree(folder / VIDEOS, ignore_errors=True)
    (folder / VIDEOS).mkdir(parents=True)  # `_replace` moves it even if there are no films
    write_text(marks[folder], identity)
    return folder


def _replace(output: Path, work: Path, paths: Sequence[Path]) -> list[Path]:
    """Move shards and films from `work` to `output`, over the old ones. Returns the shards' new paths.

    After an interruption, the next run calls this again: the mark of `work` moves last, with the shards.
    """
    (output / "provenance.json").unlink(missing_ok=True)  # it describes what goes now
    (output / "shards" / "identity").unlink(missing_ok=True)
    for name in (VIDEOS, "shards"):
        if (work / name).exists():
            shutil.rmtree(output / name, ignore_errors=True)
            (work / name).rename(output / name)
    shutil.rmtree(work)
    return [output / "shards" / path.name for path in paths]


def check_against(settings: RolloutSettings, against: Path | None) -> None:
    """Raise UserError if `evaluation.stop` and the option --against do not come together."""
    if settings.evaluation.stop is None and against is not None:
        raise UserError(
            "--against: this rollout runs all episodes: remove the option, or set evaluation.stop"
        )
    if settings.evaluation.stop is not None and against is None:
        raise UserError(
            "--against: missing: write the folder of the rollout of the policy that evaluation.stop names"
        )


def shard_settings(dumped: Mapping[str, Any]) -> dict[str, Any]:
    """The settings on which finished episodes depend: not the policy or the level that decide when to stop.

    `dumped`: the JSON of the settings. So a rollout with another level keeps its finished blocks.
    """
    stop = dumped["evaluation"].get("stop")
    if stop is None:
        return dict(dumped)
    evaluation = dumped["evaluation"] | {"stop": {"block": stop["block"]}}
    return dict(dumped) | {"evaluation": evaluation}


def _forget(output: Path, paths: Sequence[Path], stop: Stop) -> None:
    """Delete blocks and films after the stop, which an earlier rollout with another stop has left."""
    for path in (output / "shards").glob("*.parquet"):
        if path not in paths:
            path.unlink()
            path.with_suffix(records.HASH).unlink(missing_ok=True)
    run_episodes = set(stop.numbers)
    for film in (output / VIDEOS).glob(FILMS):
        if film_number(film) not in run_episodes:
            film.unlink()


def _summary(rows: pa.Table) -> dict[str, float | int]:
    solved = rows["solved"].to_numpy()
    return {"episodes": len(solved), "mean_solved": float(np.mean(solved))}
