"""The generic profile, whose submit command is Slurm's own here: a killed job, a cancelled run."""

from __future__ import annotations

import signal

import pytest
from cluster_project import GENERIC, ROOT, TRAINED, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]


def start(project, target: str):
    return project.start(target, profiles=(GENERIC,))


def training(project, run) -> str:
    """The job that trains, once there is a checkpoint."""

    def is_under_way() -> bool:
        assert run.poll() is None, project.told()
        return project.checkpoint() >= 40

    wait_until(is_under_way, "training does not start", 900, project.told)
    return project.submitted("vlm4vla-vla")[-1]["JobId"]


def test_killed_job_is_tried_again_and_resumes(project):
    run = start(project, TRAINED)
    killed = training(project, run)
    project.cluster.run("scancel", "--full", "--signal=KILL", killed, check=True)
    wait_until(lambda: project.cluster.job(killed)["JobState"] != "RUNNING", "the job lives on")
    checkpoint, curve = project.checkpoint(), project.curve()

    project.finish(run)

    first, second = project.submitted("vlm4vla-vla")
    assert first["JobState"] != "COMPLETED" and second["JobState"] == "COMPLETED"
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("2500M", "5000M")
    assert (first["TimeLimit"], second["TimeLimit"]) == ("02:00:00", "04:00:00")
    kept = checkpoint // 10
    assert kept >= 4 and project.curve()[:kept] == curve[:kept], "training did not go on from its checkpoint"
    left = [path.name for path in (project.folder / ".snakemake" / "cluster").iterdir()]
    assert not left, "files of ended jobs are left"


def test_cancelled_run_leaves_no_job(project):
    run = start(project, f"{ROOT}/rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet")
    training(project, run)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) != 0
    wait_until(lambda: not project.cluster.jobs(), "jobs of a cancelled run are left", 60)
