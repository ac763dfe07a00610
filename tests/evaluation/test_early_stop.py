"""Early stops: the order of the episodes, the decision after a block, and records that cannot be compared."""

import collections

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.conventions.episodes import SCHEMA, STOP, Stop, stop_of
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.early_stop import EarlyStop, spread_order

TASKS = [f"task {number // 12}" for number in range(60)]  # five tasks, one after another


def settings(benchmark="bridge", **stop):
    evaluation = {"episodes": 12, "max_steps": 40, "execution_horizon": 2, "seed": 3}
    return RolloutSettings(
        policy="vla",
        backbone="kosmos-2",
        variant="full",
        benchmark=benchmark,
        seed=1,
        evaluation=evaluation | {"stop": {"against": "paligemma-1", "block": 10} | stop},
        image_size=64,
        study="test",
        scale="smoke",
    )


def write(path, solved, tasks=TASKS, **changes):
    defaults = {field.name: "x" if field.type == pa.string() else 0 for field in SCHEMA}
    defaults |= {
        "benchmark": "bridge",
        "model": "paligemma-1",
        "rollout_seed": 3,
        "seed": 1,
        "success": False,
    }
    rows = [
        defaults | {"episode": number, "task": task, "initial_state": number, "solved": value} | changes
        for number, (task, value) in enumerate(zip(tasks, solved, strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return path


def test_every_beginning_of_the_order_has_each_task_about_equally_often():
    order = spread_order(TASKS, "bridge", 0)
    assert sorted(order) == list(range(60)) and order[0] == 0
    for end in range(1, 61):
        counts = collections.Counter(TASKS[number] for number in order[:end])
        assert max(counts.values()) - min(counts.get(task, 0) for task in set(TASKS)) <= 1


def test_the_order_depends_on_benchmark_and_seed_alone():
    assert spread_order(TASKS, "bridge", 0) == spread_order(list(TASKS), "bridge", 0)
    assert spread_order(TASKS, "bridge", 0) != spread_order(TASKS, "bridge", 1)
    assert spread_order(TASKS, "bridge", 0) != spread_order(TASKS, "libero-10", 0)


def test_the_tasks_of_chains_are_spread():
    # In their own order, the first 30 chains contain only the tasks 0 to 5.
    chains = [" > ".join(f"t{(3 * (n // 30) + k * (1 + n % 2)) % 12}" for k in range(3)) for n in range(120)]
    order = spread_order(chains, "calvin", 0)
    counts = collections.Counter(name for number in order[:30] for name in chains[number].split(" > "))
    plain = collections.Counter(name for chain in chains[:30] for name in chain.split(" > "))
    assert max(counts.values()) - min(counts.values()) <= 3
    assert len(plain) < len(counts) == 12


def test_a_look_reports_the_first_decision(tmp_path):
    path = write(tmp_path / "other.parquet", [0] * 60)
    early = EarlyStop(settings(), path, 60)
    assert [len(block) for block in early.blocks()] == [10] * 6
    stop = early.look([1] * 10)
    assert (stop.decision, stop.reason, stop.model, stop.seed) == ("higher", "decided", "paligemma-1", 1)
    assert stop.stopped and stop.episodes == 10 and stop.decided_after <= 10
    assert stop.numbers == sorted(early.order[:10])
    # Sign patterns: without a difference, fewer than alpha of all outcomes can decide so early.
    assert 2 * 0.5**stop.decided_after < 0.05
    assert (
        EarlyStop(settings(), write(tmp_path / "o.parquet", [1] * 60), 60).look([0] * 10).decision == "lower"
    )
    assert early.look([0] * 60).reason == "all states" and not early.look([0] * 60).stopped
    assert early.look([0] * 20).reason == ""


def test_a_hopeless_rollout_stops_only_if_that_is_configured(tmp_path):
    path = write(tmp_path / "other.parquet", [0, 1] * 30)
    solved = [[0, 1][number % 2] for number in EarlyStop(settings(), path, 60).order[:50]]
    assert EarlyStop(settings(), path, 60).look(solved).reason == ""
    stop = EarlyStop(settings(hopeless=0.2), path, 60).look(solved)
    assert (stop.decision, stop.decided_after) == ("undecided", None) and stop.reason and stop.stopped


def test_chains_count_by_their_length(tmp_path):
    tasks = [" > ".join(f"t{(number + k) % 7}" for k in range(5)) for number in range(60)]
    path = write(tmp_path / "o.parquet", [1] * 60, tasks, benchmark="calvin")
    early = EarlyStop(settings("calvin"), path, 60)
    assert early.look([3] * 10).decision == "higher"
    assert early.look([1] * 10).decision == "undecided"
    with pytest.raises(ValueError, match="6"):
        early.look([6] * 10)


def test_records_that_cannot_be_compared_are_refused_in_one_line(tmp_path):
    for changes, message in (
        ({"rollout_seed": 4}, "rollout_seed is 4, but this rollout has 3"),
        ({"benchmark": "calvin"}, "benchmark is 'calvin', but this rollout has 'bridge'"),
    ):
        path = write(tmp_path / "other.parquet", [0] * 60, **changes)
        with pytest.raises(UserError, match=message) as caught:
            EarlyStop(settings(), path, 60)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="has 60 of the 61 episodes"):
        EarlyStop(settings(), write(tmp_path / "other.parquet", [0] * 60), 61)
    with pytest.raises(UserError, match="no such file"):
        EarlyStop(settings(), tmp_path / "missing.parquet", 60)
    stop = EarlyStop(settings(), tmp_path / "other.parquet", 60).look([0] * 60)
    rows = pq.read_table(tmp_path / "other.parquet").replace_schema_metadata({STOP: stop.to_json()})
    pq.write_table(rows, tmp_path / "other.parquet")
    with pytest.raises(UserError, match="could stop early itself"):
        EarlyStop(settings(), tmp_path / "other.parquet", 60)


def test_an_episode_with_another_state_is_refused(tmp_path):
    early = EarlyStop(settings(), write(tmp_path / "other.parquet", [0] * 60), 60)
    early.check("initial_state", [4, 7], [4, 7])
    with pytest.raises(
        UserError, match="episode 7 has another initial_state \\(7\\) than this rollout \\(8\\)"
    ):
        early.check("initial_state", [4, 8], [4, 7])


def test_the_stop_survives_the_metadata_of_a_file(tmp_path):
    stop = Stop("m", "none", "full", 0, 0.05, 2, (2, 0, 1), 2, "higher", "decided", 2)
    rows = pa.table({"episode": [0, 2]}).replace_schema_metadata({STOP: stop.to_json()})
    pq.write_table(rows, tmp_path / "x.parquet")
    assert stop_of(pq.read_schema(tmp_path / "x.parquet")) == stop
    assert stop_of(pa.schema([])) is None
    with pytest.raises(ValueError, match=r"vlm4vla\.stop"):
        stop_of(pa.schema([], {STOP: b'{"order": 3}'}))
