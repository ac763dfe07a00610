"""Studies with the repository's configuration and with a changed configuration."""

from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study

CONFIG = Path(__file__).parents[3] / "config.yaml"


@pytest.fixture
def raw(tmp_path) -> dict:
    """config.yaml with an empty results folder."""
    return load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


@pytest.fixture
def study(raw) -> Study:
    return Study(load_config(raw))


@pytest.fixture
def paper(raw) -> Study:
    """A study of one backbone: the released Qwen2.5-VL-3B, with the training of the paper on CALVIN."""
    raw["backbones"]["qwen2.5-vl-3b"] = {
        "family": "qwen2_5_vl",
        "parameters_b": 3.8,
        "checkpoint": "Qwen/Qwen2.5-VL-3B-Instruct",
        "revision": "0" * 40,
    }
    raw["scale"] = "paper"
    raw["benchmarks"]["calvin"]["training"] = None
    raw["vla"] = {"steps": 30000, "batch": 128, "optimiser": {"learning_rate": 2e-5}}
    raw["tables"] = {
        "freeze": {
            "backbones": ["qwen2.5-vl-3b"],
            "variants": ["full", "freeze-vision"],
            "benchmarks": ["calvin"],
        }
    }
    return Study(load_config(raw))
