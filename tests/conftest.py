"""The study of config.yaml, for tests of what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vlm4vla.config import load_config
from vlm4vla.study import Study

CONFIG = Path(__file__).parents[1] / "config.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(CONFIG.read_text())


@pytest.fixture
def study(raw) -> Study:
    return Study(load_config(raw))
