"""Shards of a rollout: whole and of one rollout, or named in one line before anything is written."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm4vla.core.artefacts import file_hash
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation import records

ROW = {
    **{"study": "s", "scale": "smoke", "benchmark": "bridge", "model": "m", "auxiliary": "none"},
    **{"variant": "full", "seed": 0, "task": "t", "instruction": "lift it", "initial_state": 0},
    **{"rollout_seed": 0, "checkpoint": "c", "execution_horizon": 2, "max_steps": 40, "steps": 40},
    **{"success": False, "solved": 0, "protocol": "p"},
}


def _table(numbers, **changed):
    return pa.Table.from_pylist([ROW | {"episode": number} | changed for number in numbers], records.SCHEMA)


@pytest.fixture
def shards(tmp_path):
    paths = [tmp_path / "00000.parquet", tmp_path / "00002.parquet"]
    for path, numbers in zip(paths, ([0, 1], [3, 2]), strict=True):
        records.write_shard(path, _table(numbers))
    return paths


def _refused(shards, tmp_path):
    with pytest.raises(UserError) as error:
        records.merge(shards, tmp_path / "all.parquet", 4)
    assert not (tmp_path / "all.parquet").exists() and "\n" not in str(error.value)
    return str(error.value)


def test_whole_shards(shards, tmp_path):
    rows = records.merge(shards[::-1], tmp_path / "all.parquet", 4)
    assert rows["episode"].to_pylist() == [0, 1, 2, 3]
    assert pq.read_table(tmp_path / "all.parquet").equals(rows)
    assert records.is_whole(shards[1], [2, 3]) and not records.is_whole(shards[1], [2, 4])


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "n"), ("checkpoint", "d"), ("seed", 1), ("protocol", "q"), ("study", None)],
)
def test_shards_of_another_rollout(shards, tmp_path, name, value):
    records.write_shard(shards[1], _table([2, 3], **{name: value}))
    assert f"{shards[1]}: {name} is not the same in all shards" in _refused(shards, tmp_path)


@pytest.mark.parametrize("numbers", [[], [2], [1, 2], [2, 4], [2, 3, 4], [-1, 2]])
def test_episodes_that_are_not_those_of_the_rollout(shards, tmp_path, numbers):
    records.write_shard(shards[1], _table(numbers))
    assert "each of the episodes 0 to 3 once" in _refused(shards, tmp_path)


def test_no_shard(tmp_path):
    assert "each of the episodes 0 to 3 once" in _refused([], tmp_path)


@pytest.mark.parametrize("damage", ["cut", "empty", "words", "folder", "missing", "columns"])
def test_a_shard_that_is_none(shards, tmp_path, damage, capsys):
    path = shards[1]
    content = {"cut": path.read_bytes()[:300], "empty": b"", "words": b"a,b\n1,2\n"}
    path.unlink()
    if damage in content:
        path.write_bytes(content[damage])
    elif damage == "folder":
        path.mkdir()
    elif damage == "columns":
        pq.write_table(pa.table({"a": [1]}), path)
    assert str(path) in _refused(shards, tmp_path)
    assert not records.is_whole(path, [2, 3])
    assert damage == "missing" or f"{path}: " in capsys.readouterr().out


@pytest.mark.parametrize("stated", [b"0" * 64, b"", b"\xff\xfe"])
def test_a_hash_that_is_not_the_shards(shards, stated, capsys):
    shards[1].with_suffix(records.HASH).write_bytes(stated)
    assert not records.is_whole(shards[1], [2, 3])
    assert "changed since it was written: its episodes are run again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("record", "whole"),
    [
        (lambda path: {"files": {path.name: file_hash(path)}}, True),
        (lambda path: {"files": {path.name: "0" * 64}}, False),
        (lambda path: {"files": {}}, True),
        (lambda path: {"files": [1]}, False),
        (lambda path: [1], False),
    ],
)
def test_the_hash_that_a_job_recorded(tmp_path, record, whole):
    """The shard of a simulator is the output of a job of its own, with a provenance record."""
    path = tmp_path / "episodes.parquet"
    records.write(path, _table([0, 1]))
    path.with_name("provenance.json").write_text(json.dumps(record(path)))
    assert records.is_whole(path, [0, 1]) is whole
