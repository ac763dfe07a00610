"""Read the recordings of vla-eval, which are SQLite files, and convert them to episode records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.config.simulators import ExternalPolicy
from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.episodes import SCHEMA
from vlm4vla.core.artefacts import parse_json
from vlm4vla.evaluation.records import crop_text, episode_row, released_text
from vlm4vla.evaluation.simulators.episodes import SimulatorEpisode, benchmark_entries

QUERY = "SELECT status, metrics, steps, context, failure_reason, failure_detail FROM episode_results"
# vla-eval's reasons for failures outside the simulator. For other failures, the last line of the traceback is
# shown.
REASONS = {
    "timeout": "the policy server did not answer in time",
    "connection_closed": "the policy server hung up",
    "server_unreachable": "the policy server cannot be reached",
}
GRIPPER_RULES = {
    "sign": "",
    "two-in-a-row": " (+1 only after two such predictions in a row)",
}
SUCCESS_EVENTS = {"any-step": "success at any step", "last-step": "success at the last step"}


@dataclass(frozen=True)
class PlayedEpisode:
    """An episode as vla-eval recorded it. `failure`: the reason why it was not finished, or None."""

    number: int
    steps: int
    solved: int
    success: bool
    task: str
    instruction: str
    failure: str | None


def read_recordings(folders: Iterable[Path]) -> dict[int, PlayedEpisode]:
    """Read the episodes of all `recording-*.sqlite` files under `folders`, by number.

    If an episode was recorded twice, the finished recording is used. The files of a killed run are read as
    far as possible.
    """
    found: dict[int, PlayedEpisode] = {}
    for path in sorted(path for folder in folders for path in folder.glob("**/recording-*.sqlite")):
        for episode in _read(path):
            old = found.get(episode.number)
            if old is None or old.failure is not None:
                found[episode.number] = episode
    return found


def _read(path: Path) -> list[PlayedEpisode]:
    connection = sqlite3.connect(path, timeout=30)
    try:
        rows = connection.execute(QUERY).fetchall()
    except sqlite3.DatabaseError:  # vla-eval was killed before it created the tables
        return []
    finally:
        connection.close()
    return [_parse(*row) for row in rows]


def _parse(
    status: str, metrics: str, steps: int, context: str, reason: str | None, detail: str | None
) -> PlayedEpisode:
    result, task = parse_json(metrics or "{}"), parse_json(context or "{}")
    failure = None
    if status == "error" or reason:
        lines = [line.strip() for line in (detail or "").splitlines() if line.strip()]
        failure = REASONS.get(str(reason)) or (lines[-1] if lines else str(reason))
    return PlayedEpisode(
        number=int(task["number"]),
        steps=int(steps or 0),
        solved=int(result.get("solved", 0)),
        success=bool(result.get("success", False)),
        task=str(result.get("task", "")),
        instruction=str(result.get("instruction", "")),
        failure=failure,
    )


def records_table(
    settings: RolloutSettings,
    checkpoint: str,
    episodes: Sequence[SimulatorEpisode],
    played: dict[int, PlayedEpisode],
    external: ExternalPolicy | None,
) -> pa.Table:
    """The records of `episodes`. Raises KeyError if an episode is missing in `played`."""
    evaluation = settings.evaluation
    entries = benchmark_entries(evaluation)
    protocol = protocol_text(
        settings.benchmark, evaluation, external, is_released=settings.released is not None
    )
    protocol += released_text(settings)
    rows = [
        episode_row(
            settings,
            checkpoint=checkpoint,
            protocol=protocol,
            episode=episode.number,
            task=played[episode.number].task,
            instruction=played[episode.number].instruction,
            initial_state=episode.state,
            max_steps=entries[episode.entry].steps,
            steps=played[episode.number].steps,
            solved=played[episode.number].solved,
            success=played[episode.number].success,
            execution_horizon=external.execution_horizon if external else None,
        )
        for episode in episodes
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def protocol_text(
    benchmark: str,
    evaluation: EvaluationProtocol,
    external: ExternalPolicy | None = None,
    *,
    is_released: bool = False,
) -> str:
    """The protocol of an evaluation in one line, which every record contains.

    It names everything on which the records depend. `external`: the external policy, if it is evaluated
    instead of one of ours. `is_released`: whether a released policy is.
    """
    simulator = evaluation.simulator
    assert simulator is not None
    unit = "an instruction" if simulator.convention.chains else "an episode"
    steps = f"at most {evaluation.max_steps} steps {unit}"
    if isinstance(simulator.tasks, dict):
        own = [f"{name} {count}" for name, count in simulator.tasks.items()]
        steps = f"at most so many steps {unit}: {', '.join(own)}"
    unnormalisation = external.unnormalisation if external else simulator.unnormalisation
    unnormalisation = "mean and standard deviation" if is_released else unnormalisation
    gripper = simulator.gripper
    order = ", each followed by an action" if simulator.idle_order == "interleaved" else ""
    idle = [f"after {simulator.idle_steps} idle steps{order}"] if simulator.idle_steps else []
    last = simulator.first_state + evaluation.episodes - 1
    chosen = [f"initial states {simulator.first_state} to {last}"] if simulator.first_state else []
    varied = [f"variation {simulator.variation} of the tasks"] if simulator.variation else []
    parts = [
        SUCCESS_EVENTS[simulator.success],
        *varied,
        *chosen,
        steps,
        *idle,
        f"{(external or evaluation).execution_horizon} steps of a chunk executed"
        + ("" if external else crop_text(evaluation)),
        f"gripper {gripper.open:+d} opens and {gripper.close:+d} closes"
        + ("" if external else GRIPPER_RULES[simulator.gripper_rule]),
        f"actions un-normalised by {unnormalisation}" + (" (by its own server)" if external else ""),
        f"seeds {evaluation.seed} of the episodes and {simulator.environment_seed} of the environment",
        *(f"{name} {json.dumps(value)}" for name, value in sorted(simulator.params.items())),
    ]
    return f"{benchmark} ({simulator.adapter} through vla-eval): " + ", ".join(parts)
