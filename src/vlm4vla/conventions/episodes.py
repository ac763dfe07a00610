"""The columns of episode records: one row for each episode of a rollout, in `episodes.parquet`."""

from __future__ import annotations

import pyarrow as pa

# Between the tasks, and between the instructions, of an episode that is a chain.
SEPARATOR = " > "

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("study", "scale", "benchmark", "model", "auxiliary", "variant")),
        ("seed", pa.int64()),
        ("episode", pa.int64()),
        ("task", pa.string()),
        ("instruction", pa.string()),
        ("initial_state", pa.int64()),
        ("rollout_seed", pa.int64()),
        ("checkpoint", pa.string()),
        ("execution_horizon", pa.int64()),
        ("max_steps", pa.int64()),
        ("steps", pa.int64()),
        ("success", pa.bool_()),
        ("solved", pa.int64()),
        ("protocol", pa.string()),
    ]
)
