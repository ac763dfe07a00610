"""Parquet files are read as pyarrow's own reader reads them, but without importing pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm4vla.data.parquet import numbers, read_parquet, vectors


@pytest.fixture
def file(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(size=(300, 7)).astype(np.float32)
    table = pa.table(
        {
            "fixed": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 7),
            "lists": pa.array(values.astype(float).tolist()),
            "number": pa.array(random.integers(-5, 5, 300)),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=64)
    return tmp_path / "a.parquet"


def test_columns_equal_those_of_pyarrow(file):
    assert read_parquet(file).equals(pq.read_table(file))
    assert read_parquet(file, ["number"]).equals(pq.read_table(file, columns=["number"]))


@pytest.mark.parametrize("name", ["fixed", "lists"])
def test_vectors_equal_stacked_rows(file, name):
    column = pq.read_table(file)[name]
    whole, part = np.stack(column.to_pylist()), column.slice(60, 100)  # across the border of two chunks
    np.testing.assert_array_equal(vectors(column), whole.astype(vectors(column).dtype))
    np.testing.assert_array_equal(vectors(part), vectors(column)[60:160])


def test_numbers(file):
    column = pq.read_table(file)["number"]
    assert numbers(column).tolist() == column.to_pylist()


@pytest.mark.parametrize("rows", [[[1.0], [1.0, 2.0]], [[1.0, 2.0], None]])
def test_no_vectors(rows):
    with pytest.raises(ValueError, match="lists of different lengths, or null"):
        vectors(pa.chunked_array([pa.array(rows)]))


def test_a_job_that_reads_does_not_import_pandas(file):
    code = (
        "import sys; from pathlib import Path;"
        "from vlm4vla.data.parquet import numbers, read_parquet, vectors;"
        f"table = read_parquet(Path({str(file)!r})); vectors(table['fixed']); numbers(table['number']);"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("values", "line"),
    [([1, None, 3], "null in 1 of 3 places"), (["1"], "the type string"), ([[1]], "the type list")],
)
def test_null_and_other_types_are_no_numbers(values, line):
    with pytest.raises(ValueError, match=line):
        numbers(pa.chunked_array([pa.array(values)]))
    if line.startswith(("null", "the type string")):
        with pytest.raises(ValueError, match=line):
            vectors(pa.chunked_array([pa.array([[value] for value in values])]))
