"""Rollouts: records, resumed shards, and the same initial states for every policy."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm4vla.config.stages import RolloutSettings
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation import records
from vlm4vla.stages import rollout as stage


def settings(policy="expert", **changes):
    evaluation = {"episodes": 3, "max_steps": 40, "execution_horizon": 2, "videos": 1} | changes
    return RolloutSettings(
        policy=policy,
        backbone=policy,
        variant="full",
        benchmark="bridge",
        seed=0,
        evaluation=evaluation,
        image_size=64,
        study="test",
        scale="smoke",
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollout")
    for policy in ("expert", "random"):
        stage.run(settings(policy), output=folder / policy)
    return folder


def test_there_is_one_row_per_episode_in_order(made):
    rows = pq.read_table(made / "expert" / "episodes.parquet")
    assert rows.schema.equals(records.SCHEMA)
    assert rows["episode"].to_pylist() == list(range(12))
    assert all(rows["success"].to_pylist())
    assert max(rows["steps"].to_pylist()) <= 40


def test_policies_get_the_same_initial_states(made):
    one, other = (pq.read_table(made / p / "episodes.parquet") for p in ("expert", "random"))
    for column in ("episode", "task", "instruction", "initial_state", "rollout_seed"):
        assert one[column].equals(other[column])


def test_a_film_is_written_and_moves(made):
    films = sorted((made / "expert" / "videos").glob("*.gif"))
    assert len(films) == 1
    with Image.open(films[0]) as film:
        frames = []
        for index in range(film.n_frames):
            film.seek(index)
            frames.append(np.asarray(film.convert("RGB")))
    assert len(frames) >= 3 and not np.array_equal(frames[0], frames[-1])


def test_finished_shards_are_kept_and_a_rerun_shard_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "SHARD", 5)
    stage.run(settings("random"), output=tmp_path)
    whole = (tmp_path / "episodes.parquet").read_bytes()
    shards = sorted((tmp_path / "shards").glob("*.parquet"))
    assert len(shards) == 3
    kept = shards[0].stat().st_mtime_ns
    shards[1].unlink()
    (tmp_path / "episodes.parquet").unlink()
    stage.run(settings("random"), output=tmp_path)
    assert (tmp_path / "episodes.parquet").read_bytes() == whole
    assert shards[0].stat().st_mtime_ns == kept


def test_shards_of_another_protocol_are_not_reused(tmp_path):
    stage.run(settings("random"), output=tmp_path)
    stage.run(settings("random", max_steps=20), output=tmp_path)
    rows = pq.read_table(tmp_path / "episodes.parquet")
    assert set(rows["max_steps"].to_pylist()) == {20}


def test_what_stood_stays_until_its_successor_is_whole(tmp_path, monkeypatch):
    """Another protocol fails in its second shard: records, films and provenance of the first one remain."""
    stage.run(settings("expert"), output=tmp_path)
    monkeypatch.setattr(stage, "SHARD", 5)
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    run_batch, calls = stage.run_batch, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("the simulator died")
        return run_batch(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "run_batch", failing)
        with pytest.raises(RuntimeError):
            stage.run(settings("expert", max_steps=30), output=tmp_path)
    assert all(path.read_bytes() == content for path, content in before.items())
    begun = tmp_path / stage.NEXT / "shards" / "00000.parquet"
    written = begun.stat().st_mtime_ns
    stage.run(settings("expert", max_steps=30), output=tmp_path)  # it goes on with the second shard
    kept = tmp_path / "shards" / "00000.parquet"
    assert kept.stat().st_mtime_ns == written and not (tmp_path / stage.NEXT).exists()
    assert set(pq.read_table(tmp_path / "episodes.parquet")["max_steps"].to_pylist()) == {30}
    assert len(list((tmp_path / "videos").glob("*.gif"))) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other", "text"])
def test_a_damaged_shard_is_named_and_played_again(tmp_path, monkeypatch, capsys, damage):
    monkeypatch.setattr(stage, "SHARD", 5)
    stage.run(settings("random"), output=tmp_path)
    whole = (tmp_path / "episodes.parquet").read_bytes()
    shard, other = (tmp_path / "shards" / f"{first:05d}.parquet" for first in (5, 0))
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    data = {"cut": bytes(content[:300]), "flipped": bytes(content), "empty": b"", "text": b"words"}
    shard.write_bytes(data.get(damage) or (other.read_bytes() if damage == "other" else b""))
    (tmp_path / "episodes.parquet").unlink()
    stage.run(settings("random"), output=tmp_path)
    assert f"{shard}: " in capsys.readouterr().out
    assert (tmp_path / "episodes.parquet").read_bytes() == whole


def test_shards_with_a_gap_do_not_merge(tmp_path):
    stage.run(settings("random"), output=tmp_path)
    with pytest.raises(UserError, match="each of the episodes 0 to 12 once"):
        records.merge(sorted((tmp_path / "shards").glob("*.parquet")), tmp_path / "x.parquet", 13)
