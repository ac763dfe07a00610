"""These tests start a Slurm of their own. They run only with `make test-slurm`, or with `-m slurm`."""

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
    deselected = [item for item in items if HERE in item.path.parents]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session")
def cluster() -> Iterator[OneNode]:
    programs = missing()
    if programs:
        pytest.fail(f"{', '.join(programs)} not installed: run make test-slurm as root")
    with (
        tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder,
        OneNode(Path(folder) / "node") as started,
    ):
        yield started


@pytest.fixture(scope="session")
def prepared(cluster, tmp_path_factory) -> ClusterProject:
    """The inputs of the policy kosmos-2 on Bridge, made through Slurm. The training is configured to be long.

    Copy the project before you use it.
    """
    project = ClusterProject.lay_out(tmp_path_factory.mktemp("prepared") / "project", cluster)

    def change(config: dict) -> None:
        config["vla"] = {"steps": STEPS, "batch": 8, "checkpoint_every": 20, "log_every": 10}

    project.change("workflow/scales/smoke.yaml", change)
    inputs = (f"{ROOT}/{name}/provenance.json" for name in ("backbones/kosmos-2", "demonstrations/bridge"))
    project.make(*inputs)
    return project


@pytest.fixture
def project(prepared, tmp_path) -> Iterator[ClusterProject]:
    """A copy of `prepared`. At the end, none of its processes and jobs is left, whatever the test did."""
    copied = prepared.copy(tmp_path / "project")
    yield copied
    copied.clear()
