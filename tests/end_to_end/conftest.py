"""The smoke study is made once."""

from __future__ import annotations

import pytest
from smoke_study import Smoke


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    made = Smoke(tmp_path_factory.mktemp("smoke"))
    assert made.done.returncode == 0, made.done.stderr[-6000:]
    return made
