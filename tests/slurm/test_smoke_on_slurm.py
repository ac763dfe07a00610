"""The whole smoke study through the Slurm profile, with one of its jobs killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_project import LAYER, ClusterProject, wait_until
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.study.study import Study

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(5400)]


def merge(base: dict, layer: dict) -> dict:
    """Override `base` by `layer`, mappings key by key, as Snakemake does."""
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


@pytest.fixture
def project(cluster, tmp_path) -> Iterator[ClusterProject]:
    """The workflow without results. At the end, none of its processes and jobs is left."""
    copied = ClusterProject.lay_out(tmp_path / "project", cluster)
    yield copied
    copied.clear()


def test_smoke_study(project, cluster):
    run = project.start("all_tables")

    def running() -> list[dict[str, str]]:
        assert run.poll() is None, project.output()
        return [job for job in project.submitted("rollout") if job["JobState"] == "RUNNING"]

    [killed, *_] = wait_until(running, "no rollout has started", 3600, project.output)
    cluster.run("scancel", "--signal=KILL", killed["JobId"], check=True)

    output = project.finish(run, 5000)

    layers = [load_yaml((project.folder / name).read_text()) for name in ("config.yaml", LAYER)]
    study = Study(load_config(merge(*layers)))
    missing = [name for name in study.declared() if not (project.folder / Path(name)).stat().st_size]
    assert not missing
    here = [job for job in cluster.every_job() if job["WorkDir"] == str(project.folder)]
    failed = [job["JobId"] for job in here if job["JobState"] != "COMPLETED"]
    assert failed == [killed["JobId"]], output
    assert not cluster.jobs()
    assert "Nothing to be done" in project.make("all_tables")
