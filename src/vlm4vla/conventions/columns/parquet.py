"""The descriptions of docs/results.md as metadata of the columns of Parquet files.

`pyarrow.parquet.read_schema(file).field(name).metadata` gives them back: `description`, and `unit` for a
column that has one.
"""

from __future__ import annotations

import pyarrow as pa

from vlm4vla.conventions.columns.page import KINDS

DESCRIPTION, UNIT = "description", "unit"
EPISODE_RECORDS = "rollouts/*/episodes.parquet"
FRAMES = "demonstrations/*/data/*.parquet"
DATASET_EPISODES = "demonstrations/*/meta/episodes/*.parquet"
DATASET_TASKS = "demonstrations/*/meta/tasks.parquet"


def with_descriptions(schema: pa.Schema, pattern: str) -> pa.Schema:
    """`schema` with the description and the unit of each column. Equal schemas give equal metadata.

    `pattern`: the files, as a FileKind names them. A column without a description stays as it is. Raises
    KeyError for a pattern of no kind.
    """
    kind = next((kind for kind in KINDS if pattern in kind.patterns), None)
    if kind is None:
        raise KeyError(pattern)
    fields = []
    for field in schema:
        text = next((each for each in kind.columns if each.matches((field.name,))), None)
        if text is not None:
            unit = {UNIT: text.unit} if text.unit else {}
            field = field.with_metadata({DESCRIPTION: text.meaning} | unit)
        fields.append(field)
    return pa.schema(fields, metadata=schema.metadata)


def described(table: pa.Table, pattern: str) -> pa.Table:
    """`table` with the metadata of `with_descriptions`. The columns are not copied."""
    return pa.Table.from_arrays(table.columns, schema=with_descriptions(table.schema, pattern))
