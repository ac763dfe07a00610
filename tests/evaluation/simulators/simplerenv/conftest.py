"""Runs where SimplerEnv is installed (envs/simplerenv), with a GPU or a Vulkan that draws on the CPU."""

import pytest


@pytest.fixture(scope="session")
def simplerenv():
    """The package, if it can draw."""
    simpler = pytest.importorskip(
        "simpler_env", reason="SimplerEnv is not installed: envs/simplerenv says how it is made"
    )
    sapien = pytest.importorskip("sapien.core")
    try:
        sapien.SapienRenderer(offscreen_only=True)
    except RuntimeError as error:
        pytest.skip(f"SAPIEN cannot draw here ({error}): envs/simplerenv says what it needs")
    return simpler
