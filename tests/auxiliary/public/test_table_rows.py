"""Parquet rows from local files written by `datasets`, and from a hub dataset streamed by `datasets`."""

from __future__ import annotations

import json

import datasets
import public_sets
import pytest

from vlm4vla.auxiliary.public.table_rows import HubRows, ParquetRows
from vlm4vla.core.errors import UserError

COLUMNS = ["id", "image", "question", "choices", "correct_answer"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robo2vlm")
    return folder, public_sets.robo2vlm(folder, 40)


@pytest.fixture
def hub(made, monkeypatch):
    """Make `datasets` read the local files for any hub name, and record how it was called."""
    folder, _ = made
    load = datasets.load_dataset
    calls = []

    def load_dataset(name, *, revision, split, streaming):
        calls.append((name, revision, split, streaming))
        files = {"train": sorted(map(str, folder.glob("data/*.parquet")))}
        return load("parquet", data_files=files, split=split, streaming=streaming)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_rows_equal_the_written_rows(made):
    folder, rows = made
    reader = ParquetRows(sorted(folder.glob("data/*.parquet")), COLUMNS)
    found = [row for _, row in reader.read()]
    assert [row["image"]["bytes"] for row in found] == [row["image"] for row in rows]
    for row, wanted in zip(found, rows, strict=True):
        assert {key: row[key] for key in COLUMNS if key != "image"} == {
            key: wanted[key] for key in COLUMNS if key != "image"
        }


def test_files_resume_from_every_position(made):
    folder, _ = made
    files = sorted(folder.glob("data/*.parquet"))
    reader = ParquetRows(files, COLUMNS)
    ids, positions = [], []
    for _, row in reader.read():
        ids.append(row["id"])
        positions.append(json.loads(json.dumps(reader.position)))
    for number, position in enumerate(positions):
        assert [row["id"] for _, row in ParquetRows(files, COLUMNS).read(position)] == ids[number + 1 :]


def test_a_hub_dataset_is_streamed_at_its_revision_and_resumes(made, hub):
    _, rows = made
    reader = HubRows("keplerccc/Robo2VLM-1", "0123abc", "train", COLUMNS)
    assert hub == [("keplerccc/Robo2VLM-1", "0123abc", "train", True)]
    found, positions = [], []
    for where, row in reader.read():
        assert where == "keplerccc/Robo2VLM-1@0123abc"
        found.append(row)
        positions.append(json.loads(json.dumps(reader.position)))
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert [row["image"]["bytes"] for row in found] == [row["image"] for row in rows]  # not decoded
    for number in (0, 6, 13, 20, 38):
        again = HubRows("keplerccc/Robo2VLM-1", "0123abc", "train", COLUMNS)
        assert again.position is None
        rest = [row["id"] for _, row in again.read(positions[number])]
        assert rest == [row["id"] for row in rows[number + 1 :]]


def test_a_hub_dataset_without_the_column_raises(hub):
    with pytest.raises(UserError, match=r"a/b@0123: column 'picture' is missing: .*found: id, question"):
        HubRows("a/b", "0123", "train", ["id", "picture"])


def test_a_missing_hub_dataset_raises(monkeypatch):
    def missing(*words, **keys):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' doesn't exist on the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", missing)
    with pytest.raises(UserError, match=r"dataset 'a/b' at '0123', split 'train': cannot be read") as error:
        HubRows("a/b", "0123", "train", ["id"])
    assert "\n" not in str(error.value)


def test_a_local_table_without_the_column_raises(made):
    folder, _ = made
    with pytest.raises(UserError, match=r"column 'picture' is missing: write another one in `columns`"):
        ParquetRows(sorted(folder.glob("data/*.parquet")), ["id", "picture"])


def test_a_truncated_table_raises(made, tmp_path):
    folder, _ = made
    source = next(folder.glob("data/*.parquet"))
    (tmp_path / "cut.parquet").write_bytes(source.read_bytes()[:-50])
    with pytest.raises(UserError, match="incomplete or damaged Parquet file"):
        ParquetRows([tmp_path / "cut.parquet"], ["id"])
