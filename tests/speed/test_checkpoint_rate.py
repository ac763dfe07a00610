"""speed/checkpoint_rate.py runs on a small checkpoint, and says what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from fast_yaml import load_yaml
from small_parts import small_backbone

REPOSITORY = Path(__file__).parents[2]


def test_it_prints_the_rate_of_a_checkpoint(tmp_path):
    small_backbone().save(tmp_path / "backbone")
    config = load_yaml((REPOSITORY / "config.yaml").read_text())
    config["vla"]["batch"] = 2
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, str(REPOSITORY / "speed" / "checkpoint_rate.py"), str(tmp_path / "backbone")]
    command += ["--steps", "2", "--freeze", "vision", "--config", str(tmp_path / "config.yaml")]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    [rate] = found["checkpoints"].values()
    assert (found["batch"], found["steps"]) == (2, 2)
    assert (rate["image_size"], rate["image_tokens"], rate["freeze"]) == (64, 4, "vision")
    assert rate["cpu_seconds_an_update"] > 0 and rate["parameters"] > 10_000
