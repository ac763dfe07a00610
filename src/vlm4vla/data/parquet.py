"""Reading Parquet files in jobs that should start quickly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One file's table, or some of its columns.

    `pyarrow.parquet.read_table` does the same by way of pyarrow.dataset, which imports pandas: 0.7 CPU
    seconds in each job that reads one.
    """
    with pq.ParquetFile(file) as opened:
        return opened.read(columns=None if columns is None else list(columns))


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column of N numbers as (N,), not copied where it lies in one piece. BufferError for nulls.

    pyarrow's own `to_numpy` imports pandas.
    """
    return np.from_dlpack(column.combine_chunks())


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """A column of N number lists of one length D as (N, D). ValueError when lengths differ or one is null."""
    lists = column.combine_chunks()
    fixed = pa.types.is_fixed_size_list(lists.type)
    lengths = {lists.type.list_size} if fixed else set(lists.value_lengths().unique().to_pylist())
    if lists.null_count or len(lengths) > 1:
        raise ValueError("lists of several lengths, or null, where vectors of one length should be")
    return np.from_dlpack(lists.flatten()).reshape(len(lists), -1)
