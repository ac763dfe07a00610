"""The fixture of a made-up study on disk."""

from pathlib import Path

import pytest
from traced_study import write_traced


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """A made-up study in results/embedded of an empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_traced(Path("results/embedded"))
