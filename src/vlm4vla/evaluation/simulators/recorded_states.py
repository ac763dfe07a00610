"""Whether an evaluation plays the initial states from which the demonstrations were recorded.

Demonstrations that were recorded on the simulator store the initial state in each frame. A policy knows these
scenes from its training, so its score on them says little about other scenes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.core.artefacts import files_of, parse_json

INITIAL_STATE = "initial_state"  # dataset column: the simulator's initial state of the episode


def recorded_states(dataset: Path) -> set[int]:
    """The initial states of a LeRobot dataset's episodes; none if the dataset does not store them."""
    found: set[int] = set()
    for file in files_of(dataset, "data/*/*.parquet"):
        if INITIAL_STATE not in pq.read_schema(file).names:
            return set()
        column = pq.read_table(file, columns=[INITIAL_STATE])[INITIAL_STATE]
        found.update(int(value) for value in np.unique(np.stack(column.to_numpy())))
    return found


def overlap_note(evaluation: EvaluationProtocol, dataset: Path) -> str | None:
    """A sentence if the evaluation plays initial states of the demonstrations in `dataset`, else None.

    The states of a variation are others than those of the demonstrations, whatever their numbers.
    """
    simulator = evaluation.simulator
    if simulator is None or simulator.convention.chains or simulator.variation is not None:
        return None
    played = range(simulator.first_state, simulator.first_state + evaluation.episodes)
    both = sorted(recorded_states(dataset) & set(played))
    if not both:
        return None
    return (
        f"{len(both)} of the {len(played)} initial states per task that the evaluation plays ({both[0]} to "
        f"{both[-1]}) are those of demonstrations in {dataset}: the score is no score on unknown states; "
        "`evaluation.simulator.first_state` chooses others"
    )


def policy_note(evaluation: EvaluationProtocol, vla: Path) -> str | None:
    """`overlap_note` for the demonstrations of the policy in the folder `vla`, where they are still there."""
    try:
        record = parse_json((vla / "provenance.json").read_text())
        index = Path(record["inputs"]["demonstrations"]["path"])
        source = parse_json(index.read_text()).get("source")
        dataset = Path(source["folder"]) if source else index.parent
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return overlap_note(evaluation, dataset) if dataset.is_dir() else None
