"""What vla-eval recorded of the episodes: its SQLite files, and rows in the study's schema."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from vlm4vla.config.simulators import OtherPolicy
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.episodes import SCHEMA
from vlm4vla.evaluation.simulators.episodes import Chosen, entries
from vlm4vla.evaluation.simulators.protocol import protocol_text

QUERY = "SELECT status, metrics, steps, context, failure_reason, failure_detail FROM episode_results"
# vla-eval's words for what is not the simulator's fault; else the last line of the traceback is shown.
REASONS = {
    "timeout": "the policy server did not answer in time",
    "connection_closed": "the policy server hung up",
    "server_unreachable": "the policy server cannot be reached",
}


@dataclass(frozen=True)
class Played:
    """One episode as vla-eval recorded it; `failure`: why it could not be played to its end, else None."""

    number: int
    steps: int
    solved: int
    success: bool
    task: str
    instruction: str
    failure: str | None


def played(folders: Iterable[Path]) -> dict[int, Played]:
    """Episodes in the `recording-*.sqlite` files below `folders`, by number.

    Where an episode is there twice, the one that was played to its end counts. Files of a run that was killed
    are read as far as they go.
    """
    found: dict[int, Played] = {}
    for path in sorted(path for folder in folders for path in folder.glob("**/recording-*.sqlite")):
        for each in _read(path):
            old = found.get(each.number)
            if old is None or old.failure is not None:
                found[each.number] = each
    return found


def _read(path: Path) -> list[Played]:
    connection = sqlite3.connect(path, timeout=30)
    try:
        rows = connection.execute(QUERY).fetchall()
    except sqlite3.DatabaseError:  # made, and killed before its tables were
        return []
    finally:
        connection.close()
    return [_played(*row) for row in rows]


def _played(
    status: str, metrics: str, steps: int, context: str, reason: str | None, detail: str | None
) -> Played:
    told, where = json.loads(metrics or "{}"), json.loads(context or "{}")
    failure = None
    if status == "error" or reason:
        words = [line.strip() for line in (detail or "").splitlines() if line.strip()]
        failure = REASONS.get(str(reason)) or (words[-1] if words else str(reason))
    return Played(
        number=int(where["number"]),
        steps=int(steps or 0),
        solved=int(told.get("solved", 0)),
        success=bool(told.get("success", False)),
        task=str(told.get("task", "")),
        instruction=str(told.get("instruction", "")),
        failure=failure,
    )


def rows(
    settings: RolloutSettings,
    checkpoint: str,
    episodes: Sequence[Chosen],
    results: dict[int, Played],
    other: OtherPolicy | None,
) -> pa.Table:
    """Rows of `episodes` in the study's schema. KeyError for one that was not played."""
    evaluation = settings.evaluation
    protocol = protocol_text(settings.benchmark, evaluation, other)
    made = entries(evaluation)
    table = [
        {
            "study": settings.study,
            "scale": settings.scale,
            "benchmark": settings.benchmark,
            "model": settings.backbone,
            "auxiliary": settings.auxiliary,
            "variant": settings.variant,
            "seed": settings.seed,
            "episode": each.number,
            "task": results[each.number].task,
            "instruction": results[each.number].instruction,
            "initial_state": each.state,
            "rollout_seed": evaluation.seed,
            "checkpoint": checkpoint,
            "execution_horizon": (other or evaluation).execution_horizon,
            "max_steps": made[each.entry].steps,
            "steps": results[each.number].steps,
            "success": results[each.number].success,
            "solved": results[each.number].solved,
            "protocol": protocol,
        }
        for each in episodes
    ]
    return pa.Table.from_pylist(table, SCHEMA)
