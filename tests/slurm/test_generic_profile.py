"""The generic profile with Slurm's commands: a killed job and a cancelled run."""

from __future__ import annotations

import signal

import pytest
from cluster_project import GENERIC, ROOT, TRAINED, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]


def start(project, target: str):
    return project.start(target, profiles=(GENERIC,))


def training_job(project, run) -> str:
    """Wait for a checkpoint; return the id of the job that trains."""

    def is_under_way() -> bool:
        assert run.poll() is None, project.output()
        return project.checkpoint() >= 40

    wait_until(is_under_way, "training has no checkpoint", 900, project.output)
    return project.submitted("vlm4vla-vla")[-1]["JobId"]


def test_killed_job_is_tried_again_and_resumes(project):
    run = start(project, TRAINED)
    killed = training_job(project, run)
    project.cluster.run("scancel", "--full", "--signal=KILL", killed, check=True)
    wait_until(lambda: project.cluster.job(killed)["JobState"] != "RUNNING", "the killed job still runs")
    checkpoint, curve = project.checkpoint(), project.curve()

    project.finish(run)

    first, second = project.submitted("vlm4vla-vla")
    assert first["JobState"] != "COMPLETED" and second["JobState"] == "COMPLETED"
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("2500M", "5000M")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("02:00:00", "04:00:00")
    kept = checkpoint // 10
    assert kept >= 4 and project.curve()[:kept] == curve[:kept], "training did not resume from its checkpoint"
    remaining = [path.name for path in (project.folder / ".snakemake" / "cluster").iterdir()]
    assert not remaining, "files of ended jobs are left"


def test_cancelled_run_leaves_no_job(project):
    run = start(project, f"{ROOT}/rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet")
    training_job(project, run)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) != 0
    wait_until(lambda: not project.cluster.jobs(), "jobs of a cancelled run are left", 60)
