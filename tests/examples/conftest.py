"""The example files of docs/ are registered for the tests in this folder only."""

import sys
from pathlib import Path

import pytest

from vlm4vla.core import registry

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BACKBONES = Path(__file__).parents[1] / "backbones"  # these tests run again on the example families
sys.path[:0] = [str(BACKBONES / folder) for folder in (".", "families", "kernels")]


@pytest.fixture(scope="module", autouse=True)
def own_files():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_active", None)
        registry.activate([str(path) for path in sorted(EXAMPLES.glob("*.py"))])
        yield
