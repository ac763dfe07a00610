"""Curves go to the configured trackers; a tracker that is not installed is an error before training."""

import importlib.util
import json

import pytest
import several_processes as small

from vlm4vla.core.errors import UserError
from vlm4vla.training.components.trackers import PACKAGES


@pytest.mark.parametrize("name", list(PACKAGES))
def test_a_tracker_that_is_not_installed_is_an_error(tmp_path, monkeypatch, name):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda package: None if package in PACKAGES[name] else find_spec(package)
    )
    with pytest.raises(UserError) as caught:
        small.train_once(tmp_path, execution={"trackers": [name]})
    assert str(caught.value).startswith(f"execution.trackers: {name} is not installed: `pip install {name}`")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "train.jsonl").exists()  # no training has started


def test_tensorboard_shows_the_curve_of_the_log(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    small.train_once(tmp_path, execution={"trackers": ["tensorboard"]})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert shown == pytest.approx([(line["step"], line["loss"]) for line in lines])
