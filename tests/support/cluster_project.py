"""The workflow in a folder of its own, run through a profile on a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from fast_yaml import load_yaml
from one_node import OneNode

REPOSITORY = Path(__file__).parents[2]
LAYER = "workflow/scales/smoke.yaml"
SLURM, PAPER, GENERIC = (f"workflow/profiles/{name}" for name in ("slurm", "paper", "generic"))
ROOT = "results/smoke"
VLA = "vla/kosmos-2/none/full/bridge/seed0"
TRAINED = f"{ROOT}/{VLA}/provenance.json"


def _heed_interrupts() -> None:
    """Let a new process react to Ctrl-C, which processes in the background of a shell ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class ClusterProject:
    """The workflow in `folder`, whose jobs run on the Slurm `cluster`."""

    def __init__(self, folder: Path, cluster: OneNode):
        self.folder = folder
        self.cluster = cluster
        self._runs: list[subprocess.Popen] = []

    @classmethod
    def lay_out(cls, folder: Path, cluster: OneNode) -> ClusterProject:
        """Copy the workflow to `folder`, without results."""
        folder.mkdir(parents=True)
        for name in ("Snakefile", "config.yaml"):
            shutil.copy2(REPOSITORY / name, folder / name)
        for name in ("rules", "workflow", "envs"):
            shutil.copytree(REPOSITORY / name, folder / name)
        return cls(folder, cluster)

    def copy(self, folder: Path) -> ClusterProject:
        shutil.copytree(self.folder, folder, symlinks=True)
        return ClusterProject(folder, self.cluster)

    def change(self, name: str, change: Callable[[dict], None]) -> None:
        """Apply `change` to the parsed YAML file `name`, in place."""
        path = self.folder / name
        value = load_yaml(path.read_text())
        change(value)
        path.write_text(yaml.safe_dump(value, sort_keys=False))

    def start(self, *arguments: str, profiles: tuple[str, ...] = (SLURM,)) -> subprocess.Popen:
        """Start Snakemake, which prints to output.txt."""
        quick = ("--latency-wait", "15", "--jobs", str((os.cpu_count() or 1) + 1))
        if SLURM in profiles:
            quick += ("--slurm-init-seconds-before-status-checks", "4")
        else:
            quick += ("--seconds-between-status-checks", "2")
        given = [word for profile in profiles for word in ("--profile", profile)]
        environment = self.cluster.environment
        environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))
        with (self.folder / "output.txt").open("w") as output:
            run = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments, *given, *quick, "--configfile", LAYER],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_heed_interrupts,
            )
        self._runs.append(run)
        return run

    def clear(self) -> None:
        """End the runs of a test, so that they submit nothing more, and then cancel their jobs."""
        for run in self._runs:
            run.kill()
            run.wait()
        for job in self.cluster.jobs():
            self.cluster.run("scancel", job)

    def make(self, *arguments: str, profiles: tuple[str, ...] = (SLURM,), seconds: float = 900) -> str:
        """Run Snakemake, which must succeed; return its output."""
        return self.finish(self.start(*arguments, profiles=profiles), seconds)

    def finish(self, run: subprocess.Popen, seconds: float = 900) -> str:
        """Wait until `run` ends, which must succeed; return its output."""
        try:
            status = run.wait(seconds)
        except subprocess.TimeoutExpired:
            run.kill()
            status = run.wait()
        assert status == 0, f"{self.output()}\n{self.cluster.tail()}"
        return self.output()

    def output(self) -> str:
        """The output of the latest run."""
        return (self.folder / "output.txt").read_text()

    def submitted(self, rule: str) -> list[dict[str, str]]:
        """This project's jobs of one rule, oldest first, with Slurm's description of each."""
        here = [job for job in self.cluster.every_job() if job["WorkDir"] == str(self.folder)]
        return [job for job in here if f"_{rule}_" in f"_{job.get('Comment', job.get('JobName'))}_"]

    def checkpoint(self) -> int:
        """The number of updates in the newest complete checkpoint of the policy; 0 without a checkpoint."""
        records = sorted((self.folder / ROOT / VLA / "checkpoints").glob("step-*.json"))
        for path in reversed(records):
            try:
                return json.loads(path.read_text())["step"]
            except FileNotFoundError:  # a newer checkpoint has just replaced it
                continue
        return 0

    def curve(self) -> list[str]:
        """The lines of the training log. They contain speeds, so two runs never have equal lines."""
        return (self.folder / ROOT / VLA / "train.jsonl").read_text().splitlines()


def wait_until(
    ready: Callable[[], object], problem: str, seconds: float = 300, details: Callable[[], str] = str
):
    """Return the value of `ready()` once it is true.

    After `seconds`, raise AssertionError with `problem` and `details()`.
    """
    limit = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < limit, f"after {seconds:.0f} s: {problem}\n{details()}"
        time.sleep(0.2)
    return found
