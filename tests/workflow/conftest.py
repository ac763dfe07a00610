"""Copies of the workflow, before and after a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflow_project import Project, lay_out


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the workflow without results."""
    return lay_out(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """The workflow after a run of the smoke study. Copy this project before you change it."""
    made = lay_out(tmp_path_factory.mktemp("finished") / "project")
    made.make()
    return made
