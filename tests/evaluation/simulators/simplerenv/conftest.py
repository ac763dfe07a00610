"""These tests need SimplerEnv (envs/simplerenv), and a GPU or a Vulkan driver that renders on the CPU."""

import pytest


@pytest.fixture(scope="session")
def simplerenv():
    """The package `simpler_env`, if it can render."""
    simpler = pytest.importorskip("simpler_env", reason="SimplerEnv is not installed: see envs/simplerenv")
    sapien = pytest.importorskip("sapien.core")
    try:
        sapien.SapienRenderer(offscreen_only=True)
    except RuntimeError as error:
        pytest.skip(f"SAPIEN cannot render here ({error}): see envs/simplerenv")
    return simpler
