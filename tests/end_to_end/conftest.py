"""The smoke study is made once, even if the tests run in several processes."""

from __future__ import annotations

import os

import pytest
from smoke_study import Smoke


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    own = tmp_path_factory.getbasetemp()
    return Smoke((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "smoke")
