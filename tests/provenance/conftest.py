from pathlib import Path

import pytest
from traced_study import write_traced


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """A made-up study in results/embedded of an empty folder, which is the working one."""
    monkeypatch.chdir(tmp_path)
    return write_traced(Path("results/embedded"))
