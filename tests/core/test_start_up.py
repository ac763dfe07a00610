"""The effect of `imports.load` on the garbage collector, and the recorded cost of imports."""

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
    """The words that a new process prints after it has loaded torch with the code `how`."""
    return subprocess.check_output([sys.executable, "-c", COUNT.format(how=how)], text=True).split()


def test_the_collector_is_off_only_while_modules_load():
    rounds, enabled, frozen, imported = loaded("from vlm4vla.core.imports import load; load('torch')")
    assert (enabled, frozen, imported) == ("True", "True", "True")
    assert int(loaded("from vlm4vla.core.imports import load; import torch")[0]) > 20 * int(rounds)


def test_a_collector_that_was_off_stays_off():
    assert loaded("gc.disable(); from vlm4vla.core.imports import load; load('torch')")[1] == "False"


def test_the_collector_is_on_after_a_failed_import():
    how = "from vlm4vla.core.imports import load\ntry: load('vlm4vla.no')\nexcept ImportError: import torch"
    assert loaded(how)[1] == "True"


def test_the_stages_with_modules_exist():
    assert set(imports.MODULES) <= set(STAGES)


def test_provenance_has_the_time_of_the_imports(monkeypatch):
    monkeypatch.setattr(imports, "_spent", 5.0)
    provenance = Provenance("vla", {}, {}, 0)
    monkeypatch.setattr(imports, "_spent", 7.25)
    assert provenance.record()["start_up_seconds"] == pytest.approx(2.25)
