"""These tests need CALVIN (envs/calvin) and, in CALVIN_VALIDATION, the folder of its validation split."""

import os

import pytest


@pytest.fixture(scope="session")
def validation():
    """The folder with `.hydra/merged_config.yaml`."""
    pytest.importorskip("calvin_env", reason="CALVIN is not installed: see envs/calvin")
    folder = os.environ.get("CALVIN_VALIDATION")
    if not folder:
        pytest.skip("CALVIN_VALIDATION is not set")
    return folder
