"""Rollouts with `evaluation.stop`: they stop, resume with the same bytes, and say where they stopped."""

import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import simulator_examples

from vlm4vla.analysis.records import cell_records, read_episodes
from vlm4vla.conventions.episodes import stop_of
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators.recordings import PlayedEpisode
from vlm4vla.stages import rollout as stage
from vlm4vla.stages import rollout_simulator


def settings(policy="expert", **changes):
    evaluation = {"episodes": 5, "max_steps": 40, "execution_horizon": 2, "videos": 2}
    return stage.RolloutSettings(
        policy=policy,
        backbone=policy,
        variant="full",
        benchmark="bridge",
        seed=0,
        evaluation=evaluation | changes,
        image_size=64,
        study="test",
        scale="smoke",
    )


def stopping(policy="expert", **stop):
    return settings(policy, stop={"against": "random", "block": 4} | stop)


@pytest.fixture(scope="module")
def random_policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stop") / "random"
    stage.run(settings("random"), output=folder)
    return folder


def test_a_decided_rollout_stops_and_says_where(random_policy, tmp_path):
    stage.run(stopping(), against=random_policy, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    stop = stop_of(rows.schema)
    assert (stop.decision, stop.model, stop.episodes) == ("higher", "random", 8)
    assert rows["episode"].to_pylist() == stop.numbers and len(stop.order) == 20
    assert sorted(rows["task"].to_pylist().count(task) for task in set(rows["task"].to_pylist())) == [2] * 4
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["stop"]["of"] == 20 and record["stop"]["episodes"] == record["episodes"] == 8
    assert record["stop"]["reason"] == "decided" and record["inputs"]["against"]["path"].endswith(
        "random/provenance.json"
    )
    films = {int(path.stem[-4:]) for path in (tmp_path / "videos").glob("*.gif")}
    assert 0 in films <= {0, 1} & set(stop.numbers)


def test_an_undecided_rollout_has_the_same_outcomes_as_a_full_one(random_policy, tmp_path):
    stage.run(stopping("random"), against=random_policy, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert stop_of(rows.schema).reason == "all states" and rows.num_rows == 20
    assert rows.equals(pq.read_table(random_policy / "episodes.parquet"))  # the metadata apart


def test_a_killed_rollout_resumes_with_the_same_bytes(random_policy, tmp_path, monkeypatch):
    stage.run(stopping(), against=random_policy, output=tmp_path / "whole")
    original, calls = stage.run_batch, []

    def killed(*arguments, **options):
        calls.append(options["numbers"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(stage, "run_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        stage.run(stopping(), against=random_policy, output=tmp_path / "killed")
    assert not (tmp_path / "killed" / "episodes.parquet").exists()
    stage.run(stopping(), against=random_policy, output=tmp_path / "killed")
    assert calls[2] == calls[1] != calls[0]  # the first block is not run again
    whole, killed_one = (tmp_path / name / "episodes.parquet" for name in ("whole", "killed"))
    assert whole.read_bytes() == killed_one.read_bytes()


def test_another_level_keeps_the_finished_blocks(random_policy, tmp_path, monkeypatch):
    stage.run(stopping(alpha=1e-5), against=random_policy, output=tmp_path)
    later = stop_of(pq.read_schema(tmp_path / "episodes.parquet"))
    assert later.episodes > 8
    monkeypatch.setattr(stage, "run_batch", lambda *_, **__: pytest.fail("a finished block is run again"))
    stage.run(stopping(), against=random_policy, output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert stop_of(rows.schema).episodes == rows.num_rows == 8
    assert len(list((tmp_path / "shards").glob("*.parquet"))) == 2  # blocks after the stop are forgotten


def test_the_option_and_the_setting_come_together(random_policy, tmp_path):
    with pytest.raises(UserError, match="--against: missing"):
        stage.run(stopping(), output=tmp_path)
    with pytest.raises(UserError, match="--against: this rollout runs all episodes"):
        stage.run(settings("expert"), against=random_policy, output=tmp_path)
    with pytest.raises(UserError, match="has 20 of the 24 episodes"):
        stage.run(
            settings("expert", episodes=6, stop={"against": "random"}), against=random_policy, output=tmp_path
        )


def test_tables_read_a_stopped_rollout(random_policy, tmp_path):
    stage.run(stopping(), against=random_policy, output=tmp_path)
    records = read_episodes([random_policy / "episodes.parquet", tmp_path / "episodes.parquet"])
    assert len(cell_records(records, "expert", "full", "bridge")) == 8
    assert len(cell_records(records, "random", "full", "bridge")) == 20


class FakeSession:
    """A simulator that plays each episode at once: `solves` says which ones are solved."""

    def __init__(self, played, solves, limit):
        self.played, self.solves, self.limit, self.parts = played, solves, limit, []

    def run(self, parts, vla, demonstrations):
        for missing, wanted in parts:
            self.parts.append([each.number for each in missing])
            assert {each.number for each in missing} <= {each.number for each in wanted}
            for each in missing:
                if len(self.played) == self.limit:
                    raise UserError("the policy server died")
                solved = int(self.solves(each.number))
                self.played[each.number] = PlayedEpisode(
                    each.number, 9, solved, bool(solved), f"task {each.task}", "do it", None
                )


def test_blocks_on_a_simulator_stop_and_resume(tmp_path, monkeypatch):
    simulator = simulator_examples.protocol("libero-10", episodes=3).model_dump(mode="json")
    base = {"study": "t", "scale": "smoke", "image_size": 64, "benchmark": "libero-10", "variant": "full"}
    base |= {"policy": "vla", "backbone": "kosmos-2", "seed": 0}
    full = stage.RolloutSettings(evaluation=simulator, **base | {"backbone": "paligemma-1"})
    own = stage.RolloutSettings(
        evaluation=simulator | {"stop": {"against": "paligemma-1", "block": 10}}, **base
    )
    played, sessions = {}, []

    def session(settings, folder, episodes, finished):
        sessions.append(FakeSession(played, solves, limit))
        return sessions[-1]

    monkeypatch.setattr(rollout_simulator, "_session", session)
    monkeypatch.setattr(rollout_simulator.recordings, "read_recordings", lambda folders: dict(played))
    monkeypatch.setattr(rollout_simulator, "checkpoint_hash", lambda folder: "weights")
    vla = tmp_path / "vla"
    vla.mkdir()
    (vla / "provenance.json").write_text("{}")
    solves, limit = (lambda number: False), None
    rollout_simulator.run(full, vla=vla, output=tmp_path / "full")
    assert sessions[-1].parts == [sorted(played)] and len(played) == 30
    played.clear()
    solves, limit = (lambda number: True), 6
    options = SimpleNamespace(vla=vla, against=tmp_path / "full", output=tmp_path / "own")
    with pytest.raises(UserError, match="died"):
        rollout_simulator.run(own, **vars(options))
    limit = None
    rollout_simulator.run(own, **vars(options))
    rows = pq.read_table(tmp_path / "own" / "episodes.parquet")
    stop = stop_of(rows.schema)
    assert rows.num_rows == stop.episodes == 10 and stop.decision == "higher"
    assert sessions[-1].parts == [list(stop.order[6:10])]  # only the missing episodes of the block
    assert sorted(rows["task"].to_pylist()) == sorted(f"task {task}" for task in range(10))
    before, count = (tmp_path / "own" / "episodes.parquet").read_bytes(), len(sessions)
    rollout_simulator.run(own, **vars(options))
    assert (tmp_path / "own" / "episodes.parquet").read_bytes() == before and len(sessions) == count
    with pytest.raises(UserError, match="shard"):
        rollout_simulator.run(own.model_copy(update={"shard": 0}), **vars(options))
