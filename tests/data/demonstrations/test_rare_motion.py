"""Motion that is rarer than the percentiles: what the stage says about it, and the key that keeps it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_sets import FRONT, png

from vlm4vla.actions.normalisation import Statistics
from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.data.demonstrations import rare_motion as module
from vlm4vla.data.demonstrations.frame_index import open_index
from vlm4vla.data.demonstrations.rare_motion import rare_motion
from vlm4vla.data.statistics import column_statistics
from vlm4vla.stages.demonstrations_dataset import run
from vlm4vla.stages.fast_data import normalised_chunks

EPISODES, LENGTH = 10, 40
TOTAL = EPISODES * LENGTH
IMAGE = png(np.zeros((8, 8, 3), dtype=np.uint8))


def motion():
    """Actions (400, 7). x..z fill their range evenly; roll, pitch and yaw are described below."""
    values = np.zeros((TOTAL, 7), dtype=np.float32)
    values[:, :3] = np.linspace(-1, 1, TOTAL)[:, None]
    values[[17, 203], 3] = 0.4, -0.2  # roll: 0 in all but 2 of 400 frames, 0.5 %
    values[:, 4] = np.resize([-0.01, 0.01], TOTAL)
    values[[5, 399], 4] = 0.5  # pitch: a small motion, and a large one in 0.5 % of the frames
    values[:8, 5] = 0.3  # yaw: a motion in 2 % of the frames, which the 99th percentile contains
    values[:, 6] = np.resize([1, -1], TOTAL)
    return values


def write_set(folder, actions):
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    features = {
        FRONT: {"dtype": "image", "shape": [8, 8, 3], "names": None},
        "action": {"dtype": "float32", "shape": [7], "names": None},
    }
    info = {"codebase_version": "v3.0", "fps": 10, "features": features}
    info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    (folder / "meta/info.json").write_text(json.dumps(info))
    frame = np.resize(np.arange(LENGTH), TOTAL)
    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = {
        "action": pa.array(actions.tolist(), pa.list_(pa.float32())),
        "frame_index": frame,
        "episode_index": np.repeat(np.arange(EPISODES), LENGTH),
        "task_index": np.zeros(TOTAL, dtype=np.int64),
        FRONT: pa.array([{"bytes": IMAGE, "path": None}] * TOTAL, picture),
    }
    pq.write_table(pa.table(columns), folder / "data/chunk-000/file-000.parquet")
    episodes = [{"episode_index": n, "length": LENGTH, "tasks": ["turn"]} for n in range(EPISODES)]
    pq.write_table(pa.Table.from_pylist(episodes), folder / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": [0], "task": ["turn"]}), folder / "meta/tasks.parquet")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sets") / "set", motion())


def stage(dataset, output, **how):
    wanted = Demonstrations.model_validate({"dataset": str(dataset)} | how)
    run(DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=8), output=output)
    return open_index(output), json.loads((output / "provenance.json").read_text())


def test_the_stage_says_which_motion_is_lost(dataset, tmp_path, capsys):
    _, record = stage(dataset, tmp_path)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    key = "`keep_range: [roll, pitch]` in benchmarks.calvin.demonstrations keeps it"
    assert notes[0] == (
        f"note: {dataset}: `normalisation: quantile` erases roll: it ranges from -0.2 to 0.4, but its 1st "
        f"and 99th percentiles are 0; 0.50% of the frames change, by up to 67% of the range; {key}"
    )
    assert "clips pitch: it ranges from -0.01 to 0.5, but" in notes[1]
    assert "are -0.01 to 0.01; 0.50% of the frames change, by up to 96% of the range" in notes[1]
    assert list(record["rare_motion"]) == ["roll", "pitch"]
    roll, pitch = record["rare_motion"].values()
    assert roll["erased"] and (roll["q01"], roll["q99"]) == (0, 0)
    assert (roll["min"], roll["max"]) == pytest.approx((-0.2, 0.4))
    assert roll["frames"] == pytest.approx(2 / 400) and roll["largest"] == pytest.approx(0.4 / 0.6)
    assert not pitch["erased"] and pitch["frames"] == pytest.approx(2 / 400)
    assert pitch["largest"] == pytest.approx(0.49 / 0.51)


def test_kept_columns_are_scaled_by_their_range(dataset, tmp_path, capsys):
    index, record = stage(dataset, tmp_path, keep_range=["pitch", "roll"])
    assert "rare_motion" not in record and "note:" not in capsys.readouterr().out
    statistics = Statistics.from_stats(index.stats, "quantile", "calvin")
    pose, _ = statistics.normalise(index.actions)
    raw = motion().astype(float)
    for column, low, high in ((3, -0.2, 0.4), (4, -0.01, 0.5)):
        np.testing.assert_allclose(pose[:, column], 2 * (raw[:, column] - low) / (high - low) - 1, atol=1e-5)
    q01, q99 = np.quantile(raw[:, 0], [0.01, 0.99])  # a column that is not listed keeps its percentiles
    scaled = np.clip(2 * (raw[:, 0] - q01) / (q99 - q01) - 1, -1, 1)
    np.testing.assert_allclose(pose[:, 0], scaled, atol=1e-5)
    back = statistics.denormalise(pose, raw[:, 6])
    np.testing.assert_allclose(back[:, 3:5], raw[:, 3:5], atol=1e-6)
    tokens = normalised_chunks(index, statistics, 1)
    np.testing.assert_array_equal(tokens[:, 0, :6], pose)  # the FAST tokens use the same numbers


def test_without_the_key_the_motion_is_erased(dataset, tmp_path):
    index, _ = stage(dataset, tmp_path)
    pose, _ = Statistics.from_stats(index.stats, "quantile", "calvin").normalise(index.actions)
    assert (pose[:, 3] == 0).all()


def test_a_kept_range_is_the_one_of_the_frames_and_not_of_bounds(dataset, tmp_path):
    index, _ = stage(dataset, tmp_path, keep_range=["roll"], bounds=[-0.65, 0.65])
    action = index.stats["action"]
    assert (action["q01"][3], action["q99"][3]) == pytest.approx((-0.2, 0.4))
    assert (action["min"][3], action["max"][3]) == (-0.65, 0.65)


@pytest.mark.parametrize("distribution", ["normal", "laplace", "uniform"])
def test_the_tails_of_ordinary_motion_are_not_reported(distribution):
    values = getattr(np.random.default_rng(5), distribution)(size=(50_000, 7)).astype(np.float32)
    values[:, 2] = 0.1  # a column that never moves loses nothing
    assert rare_motion(values, column_statistics(values)) == {}


@pytest.mark.parametrize(
    ("share", "noise", "reported"),
    [(0.005, 0.0, True), (0.005, 0.03, True), (0.009, 0.001, True), (0.03, 0.0, False), (0.03, 0.01, False)],
)
def test_a_rotation_is_reported_if_it_is_rarer_than_the_percentile(monkeypatch, share, noise, reported):
    monkeypatch.setattr(module, "BLOCK", 999)
    random = np.random.default_rng(6)
    values = random.uniform(-1, 1, (20_000, 7)).astype(np.float32)
    values[:, 5] = random.normal(0, noise, 20_000) if noise else 0
    values[random.permutation(20_000)[: int(share * 20_000)], 5] = 0.6
    found = rare_motion(values, column_statistics(values))
    assert list(found) == (["yaw"] if reported else [])
    if reported:
        low, high = np.quantile(values[:, 5].astype(float), [0.01, 0.99])
        clipped = (values[:, 5] < low - 1e-6) | (values[:, 5] > high + 1e-6)
        assert found["yaw"].frames == pytest.approx(clipped.mean())
        spread = float(np.ptp(values[:, 5]))
        assert found["yaw"].largest == pytest.approx((0.6 - high) / spread, rel=1e-4)


@pytest.mark.parametrize("names", [["rol"], ["gripper"], []])
def test_only_names_of_motions_can_be_kept(names):
    with pytest.raises(ValueError, match="keep_range"):
        Demonstrations(dataset="x", keep_range=names)
    assert "keep_range" not in Demonstrations(dataset="x").model_dump(mode="json")
