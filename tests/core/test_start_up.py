"""What loading a stage's modules does to the garbage collector, and that its cost is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vlm4vla.core import imports
from vlm4vla.core.artefacts import Provenance
from vlm4vla.stages.running import STAGES

COUNT = """
import gc, sys
rounds = []
gc.callbacks.append(lambda phase, info: rounds.append(phase))
{how}
print(len(rounds), gc.isenabled(), gc.get_freeze_count() > 10_000, "torch" in sys.modules)
"""


def loaded(how: str) -> list[str]:
    """What a new process prints after loading torch as `how` says."""
    return subprocess.check_output([sys.executable, "-c", COUNT.format(how=how)], text=True).split()


def test_the_collector_rests_while_modules_load_and_not_after():
    rounds, on, frozen, there = loaded("from vlm4vla.core.imports import load; load('torch')")
    assert (on, frozen, there) == ("True", "True", "True")
    assert int(loaded("from vlm4vla.core.imports import load; import torch")[0]) > 20 * int(rounds)


def test_a_collector_that_was_off_stays_off():
    assert loaded("gc.disable(); from vlm4vla.core.imports import load; load('torch')")[1] == "False"


def test_a_missing_module_is_told_and_the_collector_goes_on():
    how = "from vlm4vla.core.imports import load\ntry: load('vlm4vla.no')\nexcept ImportError: import torch"
    assert loaded(how)[1] == "True"


def test_every_stage_that_loads_modules_is_one_of_the_commands():
    assert set(imports.MODULES) <= set(STAGES)


def test_provenance_tells_what_imports_took_since_it_began(monkeypatch):
    monkeypatch.setattr(imports, "_spent", 5.0)
    provenance = Provenance("vla", {}, {}, 0)
    monkeypatch.setattr(imports, "_spent", 7.25)
    assert provenance.record()["start_up_seconds"] == pytest.approx(2.25)
