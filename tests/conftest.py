"""The study of config.yaml, and a stage that does nothing."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import yaml

from vlm4vla.config.config import load_config
from vlm4vla.core.artefacts import write_json
from vlm4vla.study.study import Study

CONFIG = Path(__file__).parents[1] / "config.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(CONFIG.read_text())


@pytest.fixture
def study(raw) -> Study:
    return Study(load_config(raw))


@pytest.fixture
def stage(monkeypatch):
    """Replaces the stage `questions` by one that records its calls and writes its provenance."""
    calls = []

    def run(settings, *, output: Path) -> None:
        calls.append((settings, output))
        record = {"settings": settings.model_dump(mode="json"), "inputs": {}}
        write_json(output / "provenance.json", record)

    module = types.SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "vlm4vla.stages.questions", module)
    return calls
