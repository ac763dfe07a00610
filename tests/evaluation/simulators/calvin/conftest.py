"""Runs where CALVIN is installed (envs/calvin): CALVIN_VALIDATION names its validation split's folder."""

import os

import pytest


@pytest.fixture(scope="session")
def validation():
    """The folder with `.hydra/merged_config.yaml`."""
    pytest.importorskip("calvin_env", reason="CALVIN is not installed: envs/calvin says how it is made")
    folder = os.environ.get("CALVIN_VALIDATION")
    if not folder:
        pytest.skip("CALVIN_VALIDATION names no folder")
    return folder
