"""The columns of an episode record."""

from __future__ import annotations

import pyarrow as pa

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


SEPARATOR = " > "


COLUMNS = {
    "study": "string",
    "scale": "string",
    "benchmark": "string",
    "model": "string",
    "auxiliary": "string",
    "variant": "string",
    "seed": "integer",
    "episode": "integer",
    "task": "string",
    "instruction": "string",
    "initial_state": "integer",
    "rollout_seed": "integer",
    "checkpoint": "string",
    "execution_horizon": "integer",
    "max_steps": "integer",
    "steps": "integer",
    "success": "boolean",
    "solved": "integer",
    "protocol": "string",
}


SEPARATOR = " > "  # between the instructions of a chain, as rollouts write them
