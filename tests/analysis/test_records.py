import hashlib
import json

import pandas as pd
import pyarrow as pa
import pytest

from vlm4vla.analysis.records import cell_records, outcome, read_episodes
from vlm4vla.conventions.episodes import SCHEMA
from vlm4vla.core.errors import UserError


def frame(benchmark="bridge", solved=(1, 0, 1), **changes):
    whole = 5 if benchmark == "calvin" else 1
    count = len(solved)
    values = {
        "study": "embedded",
        "scale": "embedded",
        "benchmark": benchmark,
        "model": "kosmos-2",
        "auxiliary": "none",
        "variant": "full",
        "seed": 0,
        "episode": range(count),
        "task": "carrot on plate",
        "instruction": "put the carrot on the plate",
        "initial_state": range(count),
        "rollout_seed": 0,
        "checkpoint": "abc",
        "execution_horizon": 2,
        "max_steps": 60,
        "steps": 30,
        "success": [value == whole for value in solved],
        "solved": list(solved),
        "protocol": "embedded",
    }
    return pd.DataFrame(values | changes)[SCHEMA.names]


def save(path, records):
    records.to_parquet(path, index=False)
    return path


def test_the_order_of_files_has_no_effect(tmp_path):
    one = save(tmp_path / "a.parquet", frame(model="kosmos-2"))
    two = save(tmp_path / "b.parquet", frame(model="expert", checkpoint=""))
    records = read_episodes([one, two])
    pd.testing.assert_frame_equal(records, read_episodes([two, one, two]))
    assert list(records["model"]) == ["expert"] * 3 + ["kosmos-2"] * 3
    assert len(cell_records(records, "expert", "full", "bridge")) == 3
    assert cell_records(records, "expert", "scratch", "bridge").empty


def test_written_records_can_be_read(tmp_path):
    from vlm4vla.evaluation.records import write

    path = tmp_path / "episodes.parquet"
    write(path, pa.Table.from_pandas(frame("calvin", solved=(5, 2)), SCHEMA))
    assert list(read_episodes([path])["solved"]) == [5, 2]


def test_without_files_there_are_no_records():
    assert read_episodes([]).empty


def test_outcomes():
    records = frame("calvin", solved=(5, 2, 0))
    assert list(outcome(records, "average_length")) == [5, 2, 0]
    assert list(outcome(records, "success_at_2")) == [1, 1, 0]
    assert list(outcome(records, "success_rate")) == [1, 0, 0]
    with pytest.raises(ValueError, match="unknown metric"):
        outcome(records, "reward")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (frame().drop(columns="solved"), "column 'solved' is missing"),
        (frame(steps=[0.5, 1.0, 2.0]), "column 'steps' is double: write it as integer"),
        (frame(task=["a", None, "b"]), "column 'task' has 1 empty values"),
        (frame().iloc[:0], "no episodes"),
        (frame(study="other"), "study is 'other', but the table's is 'embedded'"),
        (frame(scale="smoke"), "scale is 'smoke', but the table's is 'embedded'"),
        (frame(solved=(1, 0, 2)), "solved 2 contradicts success False"),
        (frame("calvin", solved=(5, 6)), "solved 6 contradicts"),
        (frame(success=[True, True, True]), "episode 1: solved 0 contradicts success True"),
    ],
)
def test_bad_files_are_refused_with_one_line(tmp_path, records, message):
    path = save(tmp_path / "episodes.parquet", records)
    with pytest.raises(UserError) as error:
        read_episodes([path], study="embedded", scale="embedded")
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "kosmos-2/none/full/bridge/0: episode 0 is duplicated"),
        ({"episode": [7, 8, 9], "checkpoint": "other"}, "checkpoint is mixed (abc, other)"),
        ({"model": "expert", "execution_horizon": 4}, "bridge: execution_horizon is mixed (2, 4)"),
        ({"model": "expert", "max_steps": 61}, "bridge: max_steps is mixed"),
        ({"model": "expert", "protocol": "new"}, "bridge: protocol is mixed"),
        ({"model": "expert", "rollout_seed": 1}, "bridge: rollout_seed is mixed (0, 1)"),
        (
            {"model": "expert", "initial_state": [0, 2, 1]},
            "episode 1 has several values of initial_state (1, 2)",
        ),
        (
            {"model": "expert", "task": "other"},
            "episode 0 has several values of task (carrot on plate, other)",
        ),
        (
            {"model": "expert", "episode": [0, 1, 3]},
            "has 3 of 4 episodes of bridge: run the missing episodes (the first one is 2)",
        ),
    ],
)
def test_records_that_do_not_fit_into_one_table(tmp_path, changes, message):
    one, two = save(tmp_path / "a.parquet", frame()), save(tmp_path / "b.parquet", frame(**changes))
    with pytest.raises(UserError) as error:
        read_episodes([one, two])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_half_of_a_run_is_refused(tmp_path):
    whole, part = frame(), frame(model="expert").iloc[:2]
    one, two = save(tmp_path / "a.parquet", whole), save(tmp_path / "b.parquet", part)
    with pytest.raises(UserError, match="expert/none/full/bridge/0: has 2 of 3 episodes of bridge"):
        read_episodes([one, two])


def test_experts_can_have_their_own_execution_horizon(tmp_path):
    """Nothing else may differ."""
    own = {"model": "openvla", "checkpoint": "o", "execution_horizon": 1, "protocol": "one step"}
    one, two = save(tmp_path / "a.parquet", frame()), save(tmp_path / "b.parquet", frame(**own))
    assert len(read_episodes([one, two], experts=["openvla"])) == 6
    with pytest.raises(UserError, match="execution_horizon is mixed"):
        read_episodes([one, two], experts=["pi0"])
    longer = save(tmp_path / "c.parquet", frame(**own, max_steps=61))
    with pytest.raises(UserError, match="max_steps is mixed"):
        read_episodes([one, longer], experts=["openvla"])


def test_benchmarks_can_have_different_protocols(tmp_path):
    one = save(tmp_path / "a.parquet", frame())
    two = save(tmp_path / "b.parquet", frame("libero-10", execution_horizon=4, max_steps=520, checkpoint="l"))
    assert len(read_episodes([one, two])) == 6


def test_unreadable_files(tmp_path):
    path = tmp_path / "episodes.parquet"
    with pytest.raises(UserError, match="no such file"):
        read_episodes([path])
    path.write_bytes(frame().to_parquet()[:200])
    with pytest.raises(UserError, match="not a readable parquet file"):
        read_episodes([path])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"episodes": 8}, "has 3 episodes, but .*provenance.json has 8"),
        ({"files": {"episodes.parquet": "0" * 64}}, "changed since the rollout wrote it"),
        ("[1]", "not a provenance record"),
        ("{", "not a provenance record"),
        ({"files": [1]}, "not a provenance record"),
    ],
)
def test_records_are_compared_with_their_provenance(tmp_path, record, message):
    path = tmp_path / "episodes.parquet"
    save(path, frame())
    text = record if isinstance(record, str) else json.dumps(record)
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_episodes([path])
    assert "\n" not in str(error.value)


def test_records_with_their_own_provenance_are_read(tmp_path):
    path = tmp_path / "episodes.parquet"
    save(path, frame())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {"episodes": 3, "files": {"episodes.parquet": digest}}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    assert len(read_episodes([path])) == 3
