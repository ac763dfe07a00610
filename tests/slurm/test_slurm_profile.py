"""The Slurm profile on a real Slurm of one node: resources, kills, preemption, cancelling."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from cluster_project import PAPER, ROOT, SLURM, TRAINED, wait_until
from one_node import GPUS, MODEL, submit_urgent

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]


def start_training(project, *arguments: str):
    """Start the training of the policy and wait for a checkpoint; return the run and the id of its job."""
    run = project.start(TRAINED, *arguments)

    def is_under_way() -> bool:
        assert run.poll() is None, project.output()
        return project.checkpoint() >= 40

    wait_until(is_under_way, "training has no checkpoint", 900, project.output)
    return run, project.submitted("vla")[-1]["JobId"]


def minutes(job: dict[str, str]) -> int:
    """The time limit of a job in minutes."""
    days, _, clock = job["TimeLimit"].rpartition("-")
    hours, rest, _ = clock.split(":")
    return (int(days or 0) * 24 + int(hours)) * 60 + int(rest)


def memory(job: dict[str, str]) -> int:
    """The memory in megabytes that a job requested."""
    requested = job["MinMemoryNode"]  # Slurm prints 64000M as 62.50G
    return round(float(requested[:-1]) * {"M": 1, "G": 1024, "T": 1024**2}[requested[-1]])


def stages(project) -> list[int]:
    """The ids of the processes that run this project's stages."""
    running = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        names = [Path(word).name for word in (process.info["cmdline"] or [])[:3]]
        if process.info["cwd"] == str(project.folder) and "vlm4vla" in names:
            running.append(process.pid)
    return running


def test_requests_of_the_rules_are_granted(prepared):
    [job] = prepared.submitted("demonstrations")
    assert job["JobState"] == "COMPLETED" and job["Partition"] == "cpu"
    assert (memory(job), minutes(job), job["NumCPUs"]) == (2500, 60, "1")
    assert "gpu" not in job.get("TresPerJob", "") + job.get("TRES", "")
    assert not list((prepared.folder / "results" / "slurm").rglob("*.log")), "a log of a good job is left"


def test_killed_job_is_tried_again_with_more_memory_and_time(project):
    run, killed = start_training(project)
    for process in stages(project):  # as the kernel does when memory runs out
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: project.cluster.job(killed)["JobState"] != "RUNNING", "the killed job still runs")
    checkpoint, curve = project.checkpoint(), project.curve()

    project.finish(run)

    first, second = project.submitted("vla")
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    assert (memory(second), minutes(second)) == (2 * memory(first), 2 * minutes(first))
    kept = checkpoint // 10  # a line every ten updates
    assert kept >= 4 and project.curve()[:kept] == curve[:kept], "training did not resume from its checkpoint"
    assert "FAILED vla: kosmos-2" in project.output()


def test_preempted_job_resumes_from_its_checkpoint(project):
    run, preempted = start_training(project)
    urgent = submit_urgent(project.cluster, ["sleep", "5"])
    wait_until(lambda: project.cluster.job(urgent)["JobState"] == "RUNNING", "no job was preempted")
    checkpoint, curve = project.checkpoint(), project.curve()

    project.finish(run)

    [job] = project.submitted("vla")  # the same job came back, so no attempt is used up
    assert job["JobId"] == preempted and job["Restarts"] == "1" and job["JobState"] == "COMPLETED"
    kept = checkpoint // 10
    assert kept >= 4 and project.curve()[:kept] == curve[:kept], "training did not resume from its checkpoint"
    assert (project.folder / TRAINED).exists()


def test_cancelled_run_leaves_no_job_and_resumes(project):
    others = [f"{ROOT}/capability/kosmos-2/none.json", f"{ROOT}/demonstrations/calvin/provenance.json"]
    run, _ = start_training(project, *others)
    assert stages(project)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) != 0
    wait_until(lambda: not project.cluster.jobs(), "jobs of a cancelled run are left", 60)
    wait_until(lambda: not stages(project), "processes of a cancelled run are left", 60)
    assert not list((project.folder / ".snakemake" / "locks").glob("*.lock"))
    assert not (project.folder / TRAINED).exists()
    checkpoint, curve = project.checkpoint(), project.curve()

    project.make(TRAINED)

    kept = checkpoint // 10
    assert kept >= 4 and project.curve()[:kept] == curve[:kept], "training did not resume from its checkpoint"


def test_run_cancelled_while_it_submits_leaves_no_job(project):
    targets = [
        f"{ROOT}/rollouts/{policy}/none/full/{benchmark}/seed0/episodes.parquet"
        for policy in ("random", "expert")
        for benchmark in ("calvin", "bridge", "libero-10")
    ]
    run = project.start(*targets)
    wait_until(lambda: project.submitted("reference"), "no job is submitted", details=project.output)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) != 0
    wait_until(lambda: not project.cluster.jobs(), "jobs of a cancelled run are left", 60)
    wait_until(lambda: not stages(project), "processes of a cancelled run are left", 60)


def test_checkpoints_get_gpus_and_the_resources_of_the_paper_profile(project):
    def real_backbone(config: dict) -> None:
        config["backbones"] = {
            "real": {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": f"{ROOT}/backbones/kosmos-2"}
        }
        config["vla"]["steps"] = 20

    project.change("workflow/scales/smoke.yaml", real_backbone)
    project.change(f"{PAPER}/profile.yaml", lambda profile: profile["set-resources"]["vla"].update(gpu=GPUS))
    cell = "real/none/full/bridge/seed0"

    project.make(f"{ROOT}/rollouts/{cell}/episodes.parquet", profiles=(SLURM, PAPER))

    [trained], [rolled_out] = project.submitted("vla"), project.submitted("rollout")
    assert (trained["Partition"], rolled_out["Partition"]) == ("gpu", "gpu")
    assert trained["TresPerJob"] == f"gres:gpu:{MODEL}:{GPUS}"
    assert rolled_out["TresPerJob"] == f"gres:gpu:{MODEL}:1"  # from the configuration
    assert (trained["NumCPUs"], memory(trained), minutes(trained)) == ("64", 400000, 4320)
    assert (rolled_out["NumCPUs"], memory(rolled_out), minutes(rolled_out)) == ("16", 80000, 1440)
    [copied] = project.submitted("backbone")
    assert copied["Partition"] == "cpu" and memory(copied) == 64000
