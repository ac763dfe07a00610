"""vla-eval's recordings become episode records. The tests write files with vla-eval's schema."""

import json
import sqlite3

import pytest
from simulator_examples import rollout

from vlm4vla.analysis.records import read_episodes
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation import records
from vlm4vla.evaluation.simulators.episodes import simulator_episodes
from vlm4vla.evaluation.simulators.recordings import read_recordings, records_table

TABLE = """CREATE TABLE episode_results (sid TEXT, eid TEXT, eval_id TEXT, task_name TEXT, episode_id INTEGER,
    status TEXT, metrics TEXT, steps INTEGER, elapsed_sec REAL, context TEXT, jsonl_path TEXT,
    failure_reason TEXT, failure_detail TEXT)"""


def recording(folder, name, episodes):
    """`episodes`: (number, status, metrics, steps, failure reason and detail)."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / f"recording-{name}.sqlite")
    connection.execute(TABLE)
    for number, status, metrics, steps, reason, detail in episodes:
        row = ("s", f"{name}{number}", "e", "t", 0, status, json.dumps(metrics), steps, 1.0)
        context = json.dumps({"name": "t", "number": number, "state": number, "task": 0})
        values = (*row, context, "", reason, detail)
        connection.execute(f"INSERT INTO episode_results VALUES ({','.join('?' * 13)})", values)
    connection.commit()
    connection.close()


def metrics(solved, task="put both in the basket", **more):
    return {"success": solved > 0, "solved": solved, "task": task, "instruction": task, **more}


def test_records_have_the_schema_and_pass_the_checks(tmp_path):
    settings = rollout("libero-10", episodes=2, simulator={"tasks": [0, 7]})
    episodes = simulator_episodes(settings.evaluation)
    recording(
        tmp_path / "a",
        "x",
        [(0, "success", metrics(1), 250, None, None), (1, "fail", metrics(0), 520, None, None)],
    )
    recording(tmp_path / "b", "y", [(n, "fail", metrics(0, "another"), 520, None, None) for n in (2, 3)])
    results = read_recordings([tmp_path])
    table = records_table(settings, "hash", episodes, results, None)
    assert table.schema.equals(records.SCHEMA)
    assert table["success"].to_pylist() == [True, False, False, False]
    assert table["initial_state"].to_pylist() == [0, 1, 0, 1]
    assert len(set(table["protocol"].to_pylist())) == 1
    records.write(tmp_path / "episodes.parquet", table)
    frame = read_episodes([tmp_path / "episodes.parquet"], study="test", scale="smoke")
    assert frame["steps"].tolist() == [250, 520, 520, 520]


def test_tasks_can_have_different_maximum_numbers_of_steps(tmp_path):
    settings = rollout("bridge", episodes=1)
    recorded = [(n, "fail", metrics(0, f"task {n}"), 60, None, None) for n in range(4)]
    recording(tmp_path / "a", "x", recorded)
    table = records_table(
        settings, "hash", simulator_episodes(settings.evaluation), read_recordings([tmp_path]), None
    )
    assert table["max_steps"].to_pylist() == [60, 60, 60, 120]
    records.write(tmp_path / "one.parquet", table)
    read_episodes([tmp_path / "one.parquet"])
    longer = {"tasks": settings.evaluation.simulator.tasks | {"widowx_stack_cube": 90}}
    other = rollout("bridge", episodes=1, model="kosmos-2", simulator=longer)
    records.write(
        tmp_path / "two.parquet",
        records_table(other, "hash", simulator_episodes(other.evaluation), read_recordings([tmp_path]), None),
    )
    with pytest.raises(UserError, match="bridge: max_steps is mixed"):
        read_episodes([tmp_path / "one.parquet", tmp_path / "two.parquet"])


def test_chains_count_instructions_solved_in_a_row(tmp_path):
    settings = rollout("calvin", episodes=2)
    chain = " > ".join("abcde")
    recording(
        tmp_path / "a",
        "x",
        [
            (0, "fail", metrics(3, chain) | {"success": False}, 700, None, None),
            (1, "success", metrics(5, chain), 900, None, None),
        ],
    )
    table = records_table(
        settings, "hash", simulator_episodes(settings.evaluation), read_recordings([tmp_path]), None
    )
    assert table["solved"].to_pylist() == [3, 5] and table["max_steps"].to_pylist() == [360, 360]
    records.write(tmp_path / "episodes.parquet", table)
    assert read_episodes([tmp_path / "episodes.parquet"])["success"].tolist() == [False, True]


def test_a_finished_episode_replaces_a_failed_one(tmp_path):
    recording(tmp_path / "a", "x", [(0, "error", {"success": False}, 0, "timeout", "timeout=2s: ")])
    assert read_recordings([tmp_path])[0].failure == "the policy server did not answer in time"
    recording(tmp_path / "b", "y", [(0, "success", metrics(1), 10, None, None)])
    found = read_recordings([tmp_path])
    assert found[0].failure is None and found[0].success


def test_the_last_line_of_an_exception_is_shown(tmp_path):
    detail = 'Traceback (most recent call last):\n  File "x"\nRuntimeError: Server error: no picture\n'
    recording(tmp_path / "a", "x", [(0, "error", {"success": False}, 0, "exception", detail)])
    assert read_recordings([tmp_path])[0].failure == "RuntimeError: Server error: no picture"


def test_a_file_without_tables_contains_no_episodes(tmp_path):
    (tmp_path / "recording-x.sqlite").write_bytes(b"")
    (tmp_path / "recording-y.sqlite").write_bytes(
        b"not a database at all, but long enough to be looked at" * 20
    )
    assert read_recordings([tmp_path]) == {}
