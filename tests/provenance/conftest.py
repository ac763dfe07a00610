"""The synthetic study, and the same study packed."""

import shutil
from pathlib import Path

import pytest
from traced_fixture import traced  # noqa: F401

from vlm4vla import cli

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def packed(traced):  # noqa: F811
    """The synthetic study, packed next to a copy of the workflow."""
    for name in ("Snakefile", "config.yaml", "LICENSE", "README.md", "requirements.lock"):
        shutil.copy(REPOSITORY / name, name)
    for name in ("rules", "workflow"):
        shutil.copytree(REPOSITORY / name, name)
    assert cli.main(["pack", str(traced), "--output", "study.zip"]) == 0
    return Path("study.zip")
