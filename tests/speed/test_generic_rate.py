"""The generic adapter against the adapters of the built-in families, and its rate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vlm4vla.backbones import build
from vlm4vla.backbones.generic import layout as layouts
from vlm4vla.config.backbones import Backbone, TinySize
from vlm4vla.core.registry import FAMILIES

ROOT = Path(__file__).parents[2]
TEXTS = ["put the block", "put the red block in the drawer"]
SIZE = {"hidden": 32, "intermediate": 48, "vision_hidden": 32, "vision_intermediate": 48}
WORDS = f"{' '.join(TEXTS)} {layouts.SHORT} {layouts.LONG} {layouts.ANSWER}".split()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_state_of_the_query_is_that_of_the_familys_own_adapter(family, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "speed"))
    from generic_rate import difference

    size = TinySize(**SIZE, experts=4, experts_per_token=2)
    settings = Backbone(family=family, parameters_b=1, tiny=size, pretraining="any")
    side = 128 if family == "kosmos-2" else 64  # its processor gives 64 image tokens, one for a patch
    assert difference(build(settings, family, WORDS, side, 0), TEXTS) <= 1e-5


@pytest.mark.exhaustive  # the whole program
def test_the_program_prints_both_rates():
    command = [sys.executable, "speed/generic_rate.py", "--steps", "2", "qwen3-vl-2b", "kosmos-2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr
    assert "left out: kosmos-2" in done.stderr
    [found] = json.loads(done.stdout)["backbones"].values()
    assert found["state_difference"] <= 1e-5
    ratio = found["generic_samples_per_cpu_second"] / found["own_samples_per_cpu_second"]
    assert found["ratio"] == pytest.approx(ratio, abs=0.01) and ratio > 0.2
