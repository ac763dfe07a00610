import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))  # the made-up episodes

from traced_study import write_traced


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """A made-up study in results/embedded of an empty folder, which is the working one."""
    monkeypatch.chdir(tmp_path)
    return write_traced(Path("results/embedded"))
