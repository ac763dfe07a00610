"""speed/loader_rate.py on a tiny dataset: alone, and beside LeRobot's own loader."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEROBOT = Path(os.environ.get("LEROBOT_PYTHON") or ROOT / ".venv-lerobot/bin/python")
SIZES = ["--side", "64", "--size", "32", "--episodes", "2", "--length", "8"]


def measured(*words):
    command = [sys.executable, "speed/loader_rate.py", *SIZES, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rates_of_a_tiny_dataset():
    report = measured("--workers", "0", "1", "--updates", "2", "--batch", "4", "--no-training")
    assert report["frames"] == 16
    assert set(report["alone"]) == {"0", "1"}
    assert all(rates["samples_per_second"] > 0 for rates in report["alone"].values())


@pytest.mark.skipif(not LEROBOT.is_file(), reason="run make env-lerobot, or set LEROBOT_PYTHON")
def test_both_loaders_show_the_same_pictures():
    report = measured("--lerobot", str(LEROBOT), "--epochs", "2")
    assert report["frames"] == 16 and report["pictures_equal"]
    assert len(report["in_each_epoch"]) == len(report["theirs"]["samples_a_cpu_second"]) == 2
    assert report["times_lerobot"]["later_epochs"] > report["times_lerobot"]["without_kept_frames"] > 0
