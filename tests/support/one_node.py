"""A real Slurm of one node on this machine: munged, slurmctld and slurmd with everything in one folder.

The node claims to have GPUs, and more processors and memory than the machine, so that it can grant the
requests of a profile. Jobs are not confined (no cgroups). The daemons listen on 127.0.0.1 and run as the user
who starts them.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
MODEL = "a100"
GPUS = 8
SECONDS = 60  # to wait until a daemon answers
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 Sockets=2 CoresPerSocket=96 ThreadsPerCore=1 RealMemory=2000000 \
Gres=gpu:{model}:{gpus} State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=7-0 PriorityTier=1
PartitionName=gpu Nodes=ALL MaxTime=7-0 PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=1:00 PriorityTier=9 PreemptMode=OFF
"""
GRES_CONF = "Name=gpu Type={model} File={folder}/gpu[0-{last}]\n"
SRUN = '#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {srun} "$@"\n'


def missing() -> list[str]:
    """The programs of Slurm and munge that are not installed."""
    return [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=_path()) is None]


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _end_with_parent() -> None:
    """Let the kernel end a new process when the tests are killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class OneNode:
    """Slurm in `folder`, to use in a `with` statement. The path must be short, because it contains sockets.

    Raises RuntimeError, with the end of the log, if a daemon does not start.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._daemons: list[tuple[str, subprocess.Popen]] = []
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=platform.node().split(".")[0],
                user=getpass.getuser(),
                folder=folder,
                controller_port=_free_port(),
                node_port=_free_port(),
                model=MODEL,
                gpus=GPUS,
            )
        )
        for number in range(GPUS):
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(GRES_CONF.format(model=MODEL, folder=folder, last=GPUS - 1))
        # Snakemake's plugin takes SLURM_CONF from the environment of a job's srun.
        (folder / "bin").mkdir()
        srun = folder / "bin" / "srun"
        srun.write_text(SRUN.format(folder=folder, srun=shutil.which("srun")))
        srun.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which Slurm's commands talk to this Slurm."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        path = os.pathsep.join((str(self.folder / "bin"), _path()))
        return inherited | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def __enter__(self) -> OneNode:
        try:
            self._start(
                *("munged", "--foreground", "--force"),
                f"--key-file={self.folder}/munge.key",
                f"--socket={self.folder}/munge.socket",
                f"--pid-file={self.folder}/munged.pid",
                f"--seed-file={self.folder}/munged.seed",
                f"--log-file={self.folder}/munged.log",
            )
            self._wait_for("munged", lambda: (self.folder / "munge.socket").exists())
            self._start("slurmctld", "-D")
            self._wait_for("slurmctld", lambda: self._answers("scontrol", "ping"))
            self._start("slurmd", "-D")
            self._wait_for("slurmd", lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T").stdout)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):  # the daemons must end in any case
            for job in self.jobs():
                self.run("scancel", job)
            limit = time.monotonic() + 30
            while self.jobs() and time.monotonic() < limit:
                time.sleep(0.5)
        for _, daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess:
        """Run one of Slurm's commands."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=check
        )

    def jobs(self) -> list[str]:
        """The ids of the jobs that are queued or running."""
        return self.run("squeue", "--noheader", "--format=%i").stdout.split()

    def every_job(self) -> list[dict[str, str]]:
        """All jobs of the last hour, ended ones too, as `scontrol show job` describes them, oldest first."""
        output = self.run("scontrol", "--oneliner", "show", "job").stdout
        jobs = [
            dict(word.split("=", 1) for word in line.split() if "=" in word) for line in output.splitlines()
        ]
        return sorted((job for job in jobs if "JobId" in job), key=lambda job: int(job["JobId"]))

    def job(self, number: str) -> dict[str, str]:
        """The description of one job."""
        return next(job for job in self.every_job() if job["JobId"] == number)

    def _start(self, name: str, *options: str) -> None:
        with (self.folder / f"{name}.out").open("w") as output:
            daemon = subprocess.Popen(
                [shutil.which(name, path=_path()) or name, *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._daemons.append((name, daemon))

    def _answers(self, *command: str) -> bool:
        return self.run(*command).returncode == 0

    def _wait_for(self, name: str, ready) -> None:
        daemon = self._daemons[-1][1]
        limit = time.monotonic() + SECONDS
        while not ready():
            if daemon.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{name} does not start:\n{self.tail(name)}")
            time.sleep(0.3)

    def tail(self, *names: str) -> str:
        """The last lines of the daemons' output and logs."""
        lines: list[str] = []
        for name in names or DAEMONS:
            for path in (self.folder / f"{name}.out", self.folder / f"{name}.log"):
                if path.exists():
                    lines += path.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(lines)


def submit_urgent(cluster: OneNode, command: Sequence[str]) -> str:
    """Submit a job that needs the whole node and preempts all others; return its id."""
    done = cluster.run(
        *("sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap"),
        " ".join(command),
        check=True,
    )
    return done.stdout.strip()
