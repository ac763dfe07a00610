"""The scripts that submit, watch and cancel jobs, with small programs instead of the cluster's commands.

The tests in tests/slurm run the scripts with Slurm's own commands.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from fast_yaml import load_yaml

PROFILES = Path(__file__).parents[2] / "workflow" / "profiles"
# Appends its arguments to the file NAME.calls, and prints the content of the file NAME.says.
RECORDER = """#!/bin/sh
printf '%s\\n' "$@" >>"$0.calls"
cat "$0.says" 2>/dev/null
exit "$(cat "$0.status" 2>/dev/null || echo 0)"
"""


class Cluster:
    """A folder with substitutes for a cluster's commands, and a job script of Snakemake."""

    def __init__(self, folder: Path, profile: str, *commands: str, kind: str = ""):
        self.folder = folder
        self.kind = kind
        self.profile = PROFILES / profile
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in commands:
            path = self.bin / name
            path.write_text(RECORDER)
            path.chmod(0o755)

    def says(self, command: str, text: str, status: int = 0) -> None:
        (self.bin / f"{command}.says").write_text(text)
        (self.bin / f"{command}.status").write_text(str(status))

    def calls(self, command: str) -> list[str]:
        path = self.bin / f"{command}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def job_script(self, ends_with: int = 0, **resources: object) -> Path:
        asked = {"mem_mb": 5000, "runtime": 90, "tmpdir": "<TBD>"} | resources
        properties = {"rule": "fast_data", "threads": 4, "resources": asked, "params": {"a": "it's"}}
        path = self.folder / "job.sh"
        path.write_text(f"#!/bin/sh\n# properties = {json.dumps(properties)}\nexit {ends_with}\n")
        return path

    def run(self, script: str, *arguments: object) -> str:
        """Run one of the profile's scripts in the folder of the run, and return its output."""
        done = subprocess.run(
            [self.profile / script, *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}", "VLM4VLA_SCHEDULER": self.kind},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def slurm(tmp_path) -> Cluster:
    return Cluster(tmp_path, "generic", "sbatch", "squeue", "scancel")


def submitted(cluster: Cluster) -> Path:
    """The last script that was submitted to the cluster."""
    return Path(cluster.calls("sbatch")[-1])


def test_a_job_requests_the_resources_of_its_rule(slurm):
    slurm.says("sbatch", "41\n")
    assert slurm.run("submit", slurm.job_script()) == "41"
    options = slurm.calls("sbatch")
    assert {"--cpus-per-task=4", "--mem=5000", "--time=90", "--job-name=vlm4vla-fast_data"} <= set(options)
    assert not any("gpu" in option for option in options)


@pytest.mark.parametrize(("model", "option"), [("a100", "--gpus=a100:8"), (None, "--gpus=8")])
def test_a_job_requests_gpus(slurm, model, option):
    slurm.says("sbatch", "41\n")
    slurm.run("submit", slurm.job_script(gpu=8, **({"gpu_model": model} if model else {})))
    assert option in slurm.calls("sbatch")


@pytest.mark.parametrize(("ends_with", "status"), [(0, "success"), (3, "failed")])
def test_status_of_a_job_that_the_cluster_no_longer_lists(slurm, ends_with, status):
    slurm.says("sbatch", "41\n")
    slurm.run("submit", slurm.job_script(ends_with))
    slurm.says("squeue", "41\n")
    assert slurm.run("status", 41) == "running"
    subprocess.run(["/bin/sh", submitted(slurm)], cwd=slurm.folder)
    slurm.says("squeue", "", status=1)
    assert slurm.run("status", 41) == status
    assert not list((slurm.folder / ".snakemake" / "cluster").iterdir())


def test_a_killed_job_has_failed(slurm):
    slurm.says("sbatch", "41\n")
    slurm.run("submit", slurm.job_script())
    slurm.says("squeue", "")
    assert slurm.run("status", 41) == "failed"
    assert slurm.run("status", 41) == "failed"
    assert not list((slurm.folder / ".snakemake" / "cluster").iterdir())


def test_jobs_are_cancelled_together(slurm):
    slurm.run("cancel", 41, 42)
    assert slurm.calls("scancel") == ["41", "42"]


def test_commands_of_other_clusters(tmp_path):
    (tmp_path / "pbs").mkdir()
    pbs = Cluster(tmp_path / "pbs", "generic", "qsub", "qstat", "qdel", kind="pbs")
    pbs.says("qsub", "7.server\n")
    pbs.run("submit", pbs.job_script(gpu=2, gpu_model="a100"))
    assert "select=1:ncpus=4:mem=5000mb:ngpus=2:gpu_model=a100" in pbs.calls("qsub")
    assert "walltime=5400" in pbs.calls("qsub")
    assert pbs.run("status", "7.server") == "running"
    (tmp_path / "sge").mkdir()
    sge = Cluster(tmp_path / "sge", "generic", "qsub", "qstat", "qdel", kind="sge")
    sge.says("qsub", "8\n")
    assert sge.run("submit", sge.job_script()) == "8"
    assert {"h_rt=5400", "h_vmem=1250M", "smp", "4"} <= set(sge.calls("qsub"))
    sge.run("cancel", 8)
    assert sge.calls("qdel") == ["8"]


@pytest.fixture
def kubernetes(tmp_path) -> Cluster:
    return Cluster(tmp_path, "kubernetes", "kubectl")


@pytest.mark.parametrize(
    ("asked", "gpus", "selector"),
    [({}, "0", {}), ({"gpu": 8, "gpu_model": "H200"}, "8", {"nvidia.com/gpu.product": "H200"})],
)
def test_a_kubernetes_job(kubernetes, asked, gpus, selector):
    kubectl = kubernetes.bin / "kubectl"
    kubectl.write_text(RECORDER.replace("\n", '\ncat >"$0.given"\n', 1))
    kubernetes.says("kubectl", "job.batch/vlm4vla-fast-data-x1\n")
    script = kubernetes.job_script(**asked)
    assert kubernetes.run("submit", script) == "job.batch/vlm4vla-fast-data-x1"
    job = load_yaml((kubernetes.bin / "kubectl.given").read_text())
    assert job["metadata"]["generateName"] == "vlm4vla-fast-data-"
    assert job["spec"]["activeDeadlineSeconds"] == 5400 and job["spec"]["backoffLimit"] == 0
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "5000M", "nvidia.com/gpu": gpus}
    assert container["command"] == ["/bin/sh", str(script)]
    assert container["workingDir"] == str(kubernetes.folder)
    assert pod["nodeSelector"] == selector


@pytest.mark.parametrize(
    ("says", "exit_status", "expected"),
    [
        ("Job ", 0, "running"),
        ("Job Complete", 0, "success"),
        ("Job SuccessCriteriaMet Complete", 0, "success"),
        ("Job Failed", 0, "failed"),
        ("", 0, "failed"),  # a user deleted the job
        ("", 1, "running"),  # kubectl does not answer
    ],
)
def test_status_of_a_kubernetes_job(kubernetes, says, exit_status, expected):
    kubernetes.says("kubectl", says, exit_status)
    assert kubernetes.run("status", "job.batch/x") == expected


def test_kubernetes_jobs_are_deleted(kubernetes):
    kubernetes.run("cancel", "job.batch/x", "job.batch/y")
    assert kubernetes.calls("kubectl")[-2:] == ["job.batch/x", "job.batch/y"]
