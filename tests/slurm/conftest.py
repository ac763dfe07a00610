"""Slurm is started for these tests alone, which run when asked for: `make test-slurm`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_project import ROOT, ClusterProject
from one_node import OneNode, missing

HERE = Path(__file__).parent
STEPS = 400


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slurm" in config.option.markexpr:
        return
    left_out = [item for item in items if HERE in item.path.parents]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def cluster() -> Iterator[OneNode]:
    lacking = missing()
    if lacking:
        pytest.fail(f"{', '.join(lacking)} missing: run tests/slurm/install.sh as root, or make test-slurm")
    with (
        tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder,
        OneNode(Path(folder) / "node") as started,
    ):
        yield started


@pytest.fixture(scope="session")
def prepared(cluster, tmp_path_factory) -> ClusterProject:
    """All that the policy kosmos-2 on Bridge is trained from, made through Slurm; the training is a long one.

    Copy it before using it.
    """
    project = ClusterProject.lay_out(tmp_path_factory.mktemp("prepared") / "project", cluster)

    def change(config: dict) -> None:
        config["vla"] = {"steps": STEPS, "batch": 8, "checkpoint_every": 20, "log_every": 10}

    project.change("workflow/scales/smoke.yaml", change)
    made = (f"{ROOT}/{name}/provenance.json" for name in ("backbones/kosmos-2", "demonstrations/bridge"))
    project.make(*made)
    return project


@pytest.fixture
def project(prepared, tmp_path) -> Iterator[ClusterProject]:
    """A copy of `prepared`; at the end nothing of it runs, whatever the test did."""
    copied = prepared.copy(tmp_path / "project")
    yield copied
    copied.clear()
