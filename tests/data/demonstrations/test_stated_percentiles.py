"""Stated percentiles: means of the episodes' percentiles, as LeRobot writes them, are too narrow."""

import json

import handmade_sets as handmade
import numpy as np
import pytest

from vlm4vla.config.demonstrations import Demonstrations
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.data.demonstrations.matching import narrow_percentiles
from vlm4vla.stages.demonstrations_dataset import run


def stats(actions, groups):
    """Means of the percentiles of `groups` of frames, weighted by their sizes."""
    sizes = [len(group) for group in groups]
    return {
        name: np.average([np.quantile(actions[group], q, axis=0) for group in groups], axis=0, weights=sizes)
        for name, q in (("q01", 0.01), ("q99", 0.99))
    }


@pytest.fixture
def actions():
    """1000 frames in ten episodes; each episode moves along x around a place of its own."""
    random = np.random.default_rng(0)
    values = random.normal(size=(1000, 7)).astype(np.float32)
    values[:, 0] += np.repeat(np.arange(10) * 5, 100)
    return values


def test_percentiles_of_all_frames_are_accepted(actions):
    assert narrow_percentiles(actions, stats(actions, [np.arange(1000)])) == {}


def test_means_of_the_episodes_percentiles_are_found(actions):
    made = stats(actions, np.split(np.arange(1000), 10))
    found = narrow_percentiles(actions, made)
    outside = ((actions < made["q01"]) | (actions > made["q99"])).mean(axis=0)
    assert outside[0] > 0.5 and found["x"] == pytest.approx(outside[0])
    assert (outside[1:6] < 0.04).all() and set(found) == {"x"}


def test_a_column_that_stays_within_its_percentiles_is_no_finding():
    values = np.zeros((100, 7), dtype=np.float32)
    values[:, 1] = np.where(np.arange(100) % 2, 0.1, -0.1)  # not exact in binary
    limits = {"q01": [0, -0.1, 0, 0, 0, 0, 0], "q99": [0, 0.1, 0, 0, 0, 0, 0]}
    assert narrow_percentiles(values, limits) == {}


@pytest.mark.parametrize("statistics", ["meta", "data"])
def test_the_stage_says_which_columns_and_what_to_write(tmp_path, capsys, statistics):
    folder = handmade.write_v30(tmp_path / "set", "image")
    path = folder / "meta/stats.json"
    record = json.loads(path.read_text())
    for name in ("q01", "q99"):
        record["action"][name][0] /= 4
    path.write_text(json.dumps(record))
    wanted = Demonstrations(dataset=str(folder), camera=handmade.FRONT, statistics=statistics)
    settings = DemonstrationsSettings(benchmark="calvin", demonstrations=wanted, image_size=32)
    run(settings, output=tmp_path / "index")
    lines = [line for line in capsys.readouterr().out.splitlines() if "outside the stated" in line]
    assert len(lines) == (statistics == "meta")
    if lines:
        assert str(folder) in lines[0] and "x " in lines[0] and "`statistics: data`" in lines[0]
