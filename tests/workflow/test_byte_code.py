"""workflow/byte_code.py: two processes import each module once, and an error ends the program."""

from __future__ import annotations

import mmap
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "workflow" / "byte_code.py"


def test_what_one_process_has_taken_the_other_leaves(tmp_path, monkeypatch):
    names = [f"taken_module_{number}" for number in range(4)]
    for name in names:
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    run = runpy.run_path(str(PROGRAM))["import_untaken"]
    taken = mmap.mmap(-1, len(names))
    taken[1] = 1
    run(names, range(4), taken)
    assert [name in sys.modules for name in names] == [True, False, True, True]
    assert bytes(taken) == b"\1\1\1\1"


@pytest.mark.parametrize("place", ["cli", "zz_last"])  # met first by the parent, or by the child
def test_a_module_that_cannot_be_imported_ends_the_program(tmp_path, place):
    package = tmp_path / "vlm4vla"
    package.mkdir()
    for name in ("__init__", "cli", "middle", "zz_last"):
        (package / f"{name}.py").write_text("raise ImportError('broken')" if name == place else "")
    command = [sys.executable, str(PROGRAM)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1 and "broken" in done.stderr
