from types import SimpleNamespace

import pytest
import synthetic_study as made
from undrawn_figures import undrawn as without_figures


@pytest.fixture(scope="module")
def undrawn():
    """The figures of all tables that the file makes are not drawn."""
    with without_figures():
        yield


@pytest.fixture
def numbers_only():
    """The figures of the tables that one test makes are not drawn."""
    with without_figures():
        yield


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A synthetic study: (folder of its tables, episode files, capability files, curve files)."""
    root = tmp_path_factory.mktemp("study")
    return root, made.write_study(root), made.write_capability(root), made.write_curves(root)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory):
    """The inputs of auxiliary and fast_injection in a synthetic study, by their names in `table.run`."""
    root = tmp_path_factory.mktemp("tuned")
    return SimpleNamespace(
        episodes=made.write_auxiliary(root),
        capability=made.write_tuned_capability(root),
        auxiliary=made.write_own_scores(root),
        fast=[made.write_fast_report(root)],
        published=made.PUBLISHED,
    )
