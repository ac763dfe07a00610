"""The workflow with nothing made, and with everything made."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflow_project import Project, lay_out


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The workflow with nothing made."""
    return lay_out(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """The workflow with the smoke study made; copy it before changing it."""
    made = lay_out(tmp_path_factory.mktemp("finished") / "project")
    made.make()
    return made
