"""The example files of docs/, known to every test here and to no other."""

import sys
from pathlib import Path

import pytest

from vlm4vla import extensions

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
sys.path.insert(0, str(Path(__file__).parents[1] / "backbones"))  # the tests of the built-in families


@pytest.fixture(scope="module", autouse=True)
def own_files():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extensions, "_active", None)
        extensions.activate([str(path) for path in sorted(EXAMPLES.glob("*.py"))])
        yield
