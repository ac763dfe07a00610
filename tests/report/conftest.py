from types import SimpleNamespace

import pytest
import synthetic_study as made


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A made-up study and where its tables go: (folder, episode files, capability files, curve files)."""
    root = tmp_path_factory.mktemp("study")
    return root, made.write_study(root), made.write_capability(root), made.write_curves(root)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory):
    """The inputs of auxiliary and fast_injection in a made-up study, by the names that `stage.run` takes."""
    root = tmp_path_factory.mktemp("tuned")
    return SimpleNamespace(
        episodes=made.write_auxiliary(root),
        capability=made.write_tuned_capability(root),
        auxiliary=made.write_own_scores(root),
        fast=[made.write_fast_report(root)],
        published=made.PUBLISHED,
    )
