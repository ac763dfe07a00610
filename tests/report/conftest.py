import pytest
import synthetic_study as made


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A made-up study and where its tables go: (folder, episode files, capability files, curve files)."""
    root = tmp_path_factory.mktemp("study")
    return root, made.write_study(root), made.write_capability(root), made.write_curves(root)
