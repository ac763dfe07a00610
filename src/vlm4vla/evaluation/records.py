"""Episode records: one row an episode, written in shards that merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.benchmarks.base import Episode
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.episodes import SCHEMA, SEPARATOR
from vlm4vla.core.artefacts import atomic_path
from vlm4vla.data.parquet import read_parquet
from vlm4vla.evaluation.rollouts.runner import Outcome


def table(
    settings: RolloutSettings,
    checkpoint: str,
    episodes: Sequence[Episode],
    outcomes: Sequence[Outcome],
    first: int,
) -> pa.Table:
    """Rows of episodes number `first`, `first` + 1, … in `SCHEMA`. `success`: all instructions solved."""
    evaluation = settings.evaluation
    protocol = (
        f"{settings.benchmark} ({settings.scale}): success at any step, at most {evaluation.max_steps} steps "
        f"an instruction, {evaluation.execution_horizon} steps of a chunk executed"
    )
    rows = [
        {
            "study": settings.study,
            "scale": settings.scale,
            "benchmark": settings.benchmark,
            "model": settings.backbone,
            "auxiliary": settings.auxiliary,
            "variant": settings.variant,
            "seed": settings.seed,
            "episode": number,
            "task": SEPARATOR.join(task.name for task in episode.tasks),
            "instruction": SEPARATOR.join(task.instruction for task in episode.tasks),
            "initial_state": episode.initial_state,
            "rollout_seed": evaluation.seed,
            "checkpoint": checkpoint,
            "execution_horizon": evaluation.execution_horizon,
            "max_steps": evaluation.max_steps,
            "steps": outcome.steps,
            "success": outcome.solved == len(episode.tasks),
            "solved": outcome.solved,
            "protocol": protocol,
        }
        for number, (episode, outcome) in enumerate(zip(episodes, outcomes, strict=True), start=first)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def write(path: Path, rows: pa.Table) -> None:
    """Write rows atomically; equal rows give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(rows, temporary)


def merge(shards: Sequence[Path], path: Path, episodes: int) -> pa.Table:
    """Join shards into one table sorted by episode. Raises ValueError unless each episode is there once."""
    rows = pa.concat_tables([read_parquet(shard) for shard in shards]).sort_by("episode")
    if rows["episode"].to_pylist() != list(range(episodes)):
        raise ValueError(f"{path}: the shards do not hold episodes 0 to {episodes - 1} once each")
    write(path, rows)
    return rows
