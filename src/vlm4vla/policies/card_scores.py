"""The scores on a policy's model card: those of its own rollout, with the intervals that tables have."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.records import read_episodes
from vlm4vla.conventions.benchmarks import facts
from vlm4vla.conventions.episodes import stop_of
from vlm4vla.core.errors import UserError
from vlm4vla.policies.model_card import CardScore


def rollout_scores(episodes: Path, checkpoint: str) -> list[CardScore]:
    """The scores of the policy with the hash `checkpoint` in the records `episodes` of its rollout.

    Empty if the records are missing, cannot be read, or are those of another policy, such as one that was
    trained again since.
    """
    try:
        records = read_episodes([episodes], recorded=False)
        stop = stop_of(pq.read_schema(episodes))
    except (UserError, OSError, ValueError, pa.ArrowException):
        return []
    if set(records["checkpoint"]) != {checkpoint}:
        return []
    first = records.iloc[0]
    found = []
    for metric in facts(first["benchmark"]).metrics:
        one = estimate(records, metric)
        if one is not None:
            planned = len(stop.order) if stop is not None and stop.stopped else None
            found.append(
                CardScore(
                    metric, one.value, one.ci_low, one.ci_high, one.episodes, 1, first["scale"], planned
                )
            )
    return found
