"""Write episode records, one row per episode, in shards, and merge the shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.benchmarks.base import Episode
from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.columns.parquet import EPISODE_RECORDS, described
from vlm4vla.conventions.episodes import SCHEMA, SEPARATOR, STOP, Stop
from vlm4vla.core.artefacts import atomic_path, file_hash, parse_json, write_text
from vlm4vla.core.errors import UserError
from vlm4vla.data.parquet import read_parquet
from vlm4vla.evaluation.rollouts.runner import Outcome


def episode_row(
    settings: RolloutSettings,
    *,
    checkpoint: str,
    protocol: str,
    episode: int,
    task: str,
    instruction: str,
    initial_state: int,
    max_steps: int,
    steps: int,
    solved: int,
    success: bool,
    execution_horizon: int | None = None,
) -> dict[str, Any]:
    """One episode, of an embedded benchmark or a real simulator, as a row of `SCHEMA`.

    `success`: all instructions of the episode were solved. `execution_horizon`: the number of actions that an
    external policy's own server executes of a chunk; by default, the number of the evaluation.
    """
    evaluation = settings.evaluation
    return {
        "study": settings.study,
        "scale": settings.scale,
        "benchmark": settings.benchmark,
        "model": settings.backbone,
        "auxiliary": settings.auxiliary,
        "variant": settings.variant,
        "seed": settings.seed,
        "episode": episode,
        "task": task,
        "instruction": instruction,
        "initial_state": initial_state,
        "rollout_seed": evaluation.seed,
        "checkpoint": checkpoint,
        "execution_horizon": execution_horizon or evaluation.execution_horizon,
        "max_steps": max_steps,
        "steps": steps,
        "success": success,
        "solved": solved,
        "protocol": protocol,
    }


def table(
    settings: RolloutSettings,
    checkpoint: str,
    episodes: Sequence[Episode],
    outcomes: Sequence[Outcome],
    numbers: Sequence[int],
) -> pa.Table:
    """The records of the episodes with these `numbers` of an embedded benchmark."""
    evaluation = settings.evaluation
    protocol = (
        f"{settings.benchmark} ({settings.scale}): success at any step, at most {evaluation.max_steps} steps "
        f"an instruction, {evaluation.execution_horizon} steps of a chunk executed{crop_text(evaluation)}"
        f"{released_text(settings)}"
    )
    rows = [
        episode_row(
            settings,
            checkpoint=checkpoint,
            protocol=protocol,
            episode=number,
            task=SEPARATOR.join(task.name for task in episode.tasks),
            instruction=SEPARATOR.join(task.instruction for task in episode.tasks),
            initial_state=episode.initial_state,
            max_steps=evaluation.max_steps,
            steps=outcome.steps,
            solved=outcome.solved,
            success=outcome.solved == len(episode.tasks),
        )
        for number, episode, outcome in zip(numbers, episodes, outcomes, strict=True)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def crop_text(evaluation: EvaluationProtocol) -> str:
    """The part of a protocol that names the centre crop; empty if policies see whole images."""
    return f", the centre {evaluation.centre_crop:g} of each image seen" if evaluation.centre_crop else ""


def released_text(settings: RolloutSettings) -> str:
    """The part of a protocol that names a released policy; empty for all other policies."""
    return f", the released policy {settings.released.source}" if settings.released else ""


def write(path: Path, rows: pa.Table) -> None:
    """Write records atomically, with the descriptions of the columns. Equal records give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(described(rows, EPISODE_RECORDS), temporary)


# Columns with one value in all episodes of a rollout.
SAME = (
    *("study", "scale", "benchmark", "model", "auxiliary", "variant", "seed"),
    *("rollout_seed", "checkpoint", "execution_horizon", "protocol"),
)
HASH = ".sha256"  # suffix of the file with a shard's hash


def write_shard(path: Path, rows: pa.Table) -> None:
    """Write a shard, and its SHA-256 next to it, which `is_whole` reads."""
    write(path, rows)
    write_text(path.with_suffix(HASH), file_hash(path))


def is_whole(path: Path, episodes: Sequence[int]) -> bool:
    """Whether the shard exists, is as it was written, and holds these episodes.

    A damaged shard is named on standard output: the caller plays its episodes again.
    """
    if not path.exists():
        return False
    try:
        rows, stated = read_shard(path), _stated_hash(path)
        if stated is not None and stated != file_hash(path):
            raise UserError(f"{path}: changed since it was written")
        if sorted(rows["episode"].to_pylist()) != sorted(episodes):
            raise UserError(f"{path}: does not hold its {len(episodes)} episodes")
    except UserError as error:
        print(f"{str(error).partition(': run ')[0]}: its episodes are run again", flush=True)
        return False
    return True


def _stated_hash(path: Path) -> str | None:
    """The hash of a shard in the file next to it, or in the provenance of its job; None without either."""
    own, job = path.with_suffix(HASH), path.with_name("provenance.json")
    if own.exists():
        return own.read_text(errors="replace") if own.is_file() else ""
    if not job.is_file():
        return None
    try:
        return (parse_json(job.read_bytes()).get("files") or {}).get(path.name)
    except (ValueError, AttributeError):
        return ""


def read_shard(path: Path) -> pa.Table:
    """The rows of a shard. Raises UserError for a file that is missing, damaged or of another kind."""
    try:
        rows = read_parquet(path)
        if not rows.schema.equals(SCHEMA, check_metadata=False):
            raise pa.ArrowInvalid("its columns are not those of episode records")
        return rows
    except FileNotFoundError:
        raise UserError(f"{path}: missing: run the rollout again") from None
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise UserError(f"{path}: not a whole shard ({reason}): run the rollout again") from None


def merge(shards: Sequence[Path], path: Path, episodes: int, stop: Stop | None = None) -> pa.Table:
    """Merge shards into one table, sorted by episode.

    `stop`: how the rollout ended, if it could stop early. It is written into the metadata of the file. Raises
    UserError for a damaged shard, for shards of different rollouts, and unless each of the `episodes`, or of
    the episodes before the stop, occurs once.
    """
    parts = [read_shard(shard) for shard in shards]
    rows = pa.concat_tables(parts).sort_by("episode") if parts else SCHEMA.empty_table()
    for shard, part in zip(shards, parts, strict=True):
        for name in SAME:
            values = set(part[name].to_pylist()) | set(rows[name][:1].to_pylist())
            if len(values) > 1:
                raise UserError(
                    f"{shard}: {name} is not the same in all shards ({', '.join(sorted(map(str, values)))}): "
                    "delete it and run the rollout again"
                )
    numbers = list(range(episodes)) if stop is None else stop.numbers
    if rows["episode"].to_pylist() != numbers:
        raise UserError(
            f"{path}: the shards must contain each of the episodes 0 to {episodes - 1} once: delete them and "
            "run the rollout again"
            if stop is None
            else f"{path}: the blocks must contain each of the first {stop.episodes} episodes once: delete "
            "them and run the rollout again"
        )
    if stop is not None:
        rows = rows.replace_schema_metadata({STOP: stop.to_json()})
    write(path, rows)
    return rows
