"""The study of config.yaml, and a stage that does nothing."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.core.artefacts import write_json
from vlm4vla.core.successor import OF_WORKFLOW
from vlm4vla.study.study import Study

CONFIG = Path(__file__).parents[1] / "config.yaml"


@pytest.fixture(autouse=True)
def _no_note_of_a_workflow() -> Iterator[None]:
    """Remove what a Snakefile that ran in this process has left for its jobs: later tests start jobs, too."""
    yield
    os.environ.pop(OF_WORKFLOW, None)


@pytest.fixture(autouse=True)
def _ordinary_process() -> Iterator[None]:
    """Take real-time priority away again, which encoding AV1 as root gives (findings/encoding-av1-*.sh).

    Otherwise this worker and all its later jobs would leave nothing of a core to other processes.
    """
    yield
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture
def raw() -> dict:
    return load_yaml(CONFIG.read_text())


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
