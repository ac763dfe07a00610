"""Jobs in children of a worker: they end, write, die and resume as if each command had been started."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlm4vla.workflow.warm_start import client, offering

pytestmark = pytest.mark.timeout(300)
# A worker that imports no torch, and in which the command `vlm4vla` does what its arguments say.
WORKER = """
import atexit, os, random, signal, sys, tempfile, threading, time, types
from vlm4vla.core import imports
from vlm4vla.workflow.warm_start import worker

def main():
    what, *rest = sys.argv[1:]
    if what == "print":
        atexit.register(print, "at the end", flush=True)
        print("child", os.getcwd(), os.environ.get("TMPDIR"), tempfile.gettempdir(), imports.seconds())
        print("to the error stream", file=sys.stderr)
        os.close(os.open("made", os.O_CREAT, 0o777))
        return sys.stdin.read().count("x")
    if what == "random":
        print("child", random.random())
    if what == "wait":
        try:
            print(os.getpid(), flush=True)
            time.sleep(100)
        except KeyboardInterrupt:
            return 130
    if what == "raise":
        raise RuntimeError("seen")
    if what == "exit":
        sys.exit("said")
    if what == "abort":
        os.abort()
    if what == "threads":
        threading.Thread(target=lambda: (time.sleep(0.3), print("child", "thread", flush=True))).start()
    return 0

imports._spent = 4.0  # as after the imports of a real worker
worker.preload = lambda: None
worker.source_state = lambda package: (1, 1)  # whatever happens to the files while the tests run
sys.modules["vlm4vla.cli"] = types.SimpleNamespace(main=main)
{more}
worker.main()
"""
# The command of a job that starts by itself
COLD = "#!/bin/sh\necho cold $* $PATH\n"


class Run:
    """A worker, and jobs in the environment that the run's Snakemake would give them."""

    def __init__(self, folder: Path, more: str = ""):
        self.folder, self.service = folder, folder / "service"
        (folder / "bin").mkdir(parents=True)
        self.service.mkdir()
        for path, text in ((folder / "bin" / client.COMMAND, COLD), (folder / "worker.py", WORKER)):
            path.write_text(text.replace("{more}", more))
            path.chmod(0o755)
        self.environment = os.environ | {
            "PATH": os.pathsep.join((str(folder / "bin"), os.environ["PATH"])),
            "OMP_NUM_THREADS": "1",
        }
        self.worker = subprocess.Popen(
            [sys.executable, folder / "worker.py", self.service], stdin=subprocess.PIPE, env=self.environment
        )
        limit = time.monotonic() + 60
        while not (self.service / client.SOCKET).exists():
            assert self.worker.poll() is None and time.monotonic() < limit
            time.sleep(0.02)

    def start(self, *arguments: str, **changed: str) -> subprocess.Popen[str]:
        """Start a job; `changed` are variables that this job has and the worker has not."""
        path = os.pathsep.join((str(self.service), self.environment["PATH"]))
        return subprocess.Popen(
            [sys.executable, "-I", "-S", client.__file__, self.service, *arguments],
            env=self.environment | {"PATH": path} | changed,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def job(self, *arguments: str, **changed: str) -> tuple[int, str, str]:
        """The exit status of a job and what it printed on its two streams."""
        job = self.start(*arguments, **changed)
        output, errors = job.communicate("xxx", timeout=60)
        return job.returncode, output, errors

    def waiting(self) -> tuple[subprocess.Popen[str], int]:
        """A job that waits, and the process id of its child."""
        job = self.start("wait")
        assert job.stdout is not None
        return job, int(job.stdout.readline())

    def end(self) -> None:
        assert self.worker.stdin is not None
        self.worker.stdin.close()
        self.worker.wait(60)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Run(tmp_path_factory.mktemp("run"))
    yield made
    made.end()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    limit = time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < limit:
        time.sleep(0.02)
    return not is_alive(pid)


def test_streams_folder_variables_and_status_are_those_of_the_job(run, tmp_path):
    status, output, errors = run.job("print", TMPDIR=str(tmp_path))
    assert (status, errors) == (3, "to the error stream\n")
    # The imports of the worker are no part of the job's start.
    assert output == f"child {run.folder} {tmp_path} {tmp_path} 0.0\nat the end\n"
    umask = os.umask(0)
    os.umask(umask)
    assert (run.folder / "made").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize(
    "what, status, printed", [("raise", 1, "RuntimeError: seen"), ("exit", 1, "said"), ("threads", 0, "")]
)
def test_a_child_ends_as_python_ends(run, what, status, printed):
    found, output, errors = run.job(what)
    assert found == status and printed in errors
    assert output == ("child thread\n" if what == "threads" else "")


def test_a_signal_that_ends_the_child_ends_the_job(run):
    assert run.job("abort")[0] == -signal.SIGABRT


def test_children_draw_different_random_numbers(run):
    assert run.job("random")[1] != run.job("random")[1]


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals_reach_the_child(run, number, status):
    job, child = run.waiting()
    job.send_signal(number)
    assert job.wait(60) == status and ends(child)


def test_the_child_of_a_killed_job_dies(run):
    job, child = run.waiting()
    job.kill()
    assert job.wait(60) == -signal.SIGKILL
    assert ends(child)
    assert run.job("print")[1].startswith("child")  # the worker goes on


def test_a_stopped_job_stops_its_child_and_continues(run):
    job, child = run.waiting()
    job.send_signal(signal.SIGTSTP)
    limit = time.monotonic() + 30
    while Path(f"/proc/{child}/stat").read_text().split()[2] != "T" and time.monotonic() < limit:
        time.sleep(0.02)
    assert Path(f"/proc/{child}/stat").read_text().split()[2] == "T"
    job.send_signal(signal.SIGCONT)
    job.send_signal(signal.SIGINT)
    assert job.wait(60) == 130


def test_jobs_run_at_the_same_time(run):
    first, second = run.waiting(), run.waiting()
    for job, child in (first, second):
        assert is_alive(child)
        job.send_signal(signal.SIGINT)
    assert [job.wait(60) for job, _ in (first, second)] == [130, 130]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "HF_HOME", "LD_PRELOAD"])
def test_a_job_with_other_variables_starts_by_itself(run, name):
    status, output, _ = run.job("print", "me", **{name: "2" if "THREADS" in name else ""})
    # It finds the real command, and so does what it starts.
    assert (status, output) == (0, f"cold print me {run.environment['PATH']}\n")


def test_a_job_with_other_limits_starts_by_itself(run):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert run.job("print")[1].startswith("cold")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("threading.Thread(target=time.sleep, args=[60], daemon=True).start()", id="threads"),
        pytest.param(
            "states = iter(range(100))\nworker.source_state = lambda package: next(states)", id="source"
        ),
        pytest.param("def fork(): raise OSError\nos.fork = fork", id="memory"),
    ],
)
def test_a_worker_that_cannot_serve_refuses(tmp_path, more):
    run = Run(tmp_path / "run", more)
    assert run.job("print")[1].startswith("cold")
    run.end()


def test_the_jobs_of_a_killed_worker_start_again(tmp_path):
    run = Run(tmp_path / "run")
    job, child = run.waiting()
    run.worker.kill()
    assert job.stdout.readline().startswith("cold wait") and job.wait(60) == 0
    assert is_alive(child)  # it goes on: the real command waits for the lock that the child holds
    os.kill(child, signal.SIGKILL)
    assert run.job("print")[1].startswith("cold")


def test_a_broken_request_does_not_end_the_worker(run):
    for content in (b"", b"\0\0\0\5{}", b"\0\0\0\2{}"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(run.service / client.SOCKET))
            connection.sendall(content)
    assert run.job("print")[1].startswith("child")


def test_the_worker_ends_with_the_run_and_after_its_children(tmp_path):
    run = Run(tmp_path / "run")
    job, child = run.waiting()
    run.worker.stdin.close()
    time.sleep(0.3)
    assert run.worker.poll() is None and is_alive(child)
    assert run.job("print")[1].startswith("cold")
    job.send_signal(signal.SIGINT)
    assert job.wait(60) == 130
    assert run.worker.wait(60) == 0 and not run.service.exists()


@pytest.fixture
def offered(monkeypatch):
    """Offers a warm start to a run. Returns whether a worker would be started."""
    started = []
    monkeypatch.setattr(offering, "start", started.append)
    monkeypatch.setattr(offering, "GPU_DEVICES", ())
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")

    def offer(stages, local=True, deployment=frozenset()):
        jobs = [SimpleNamespace(rule=SimpleNamespace(name=name)) for name in stages]
        dag = SimpleNamespace(needrun_jobs=lambda: jobs)
        settings = SimpleNamespace(deployment_method=deployment)
        offering.offer_warm_start(SimpleNamespace(dag=dag, local_exec=local, deployment_settings=settings))
        return bool(started)

    return offer


@pytest.mark.skipif(sys.platform != "linux", reason="jobs start warm on Linux only")
def test_a_run_with_several_trainings_is_offered_a_worker(offered):
    assert offered(["questions", "vla", "vla", "rollout", "capability"])
    assert offered(["questions", "demonstrations", "backbone", "vla", "rollout", "cell"])  # make cell


def test_few_jobs_get_none(offered):
    assert not offered(["vla", "rollout", *["table"] * 20])


def test_a_cluster_gets_none(offered):
    assert not offered(["vla"] * 9, local=False)


def test_environments_of_jobs_get_none(offered):
    assert not offered(["vla"] * 9, deployment={"conda"})


def test_the_variable_switches_it_off(offered, monkeypatch):
    monkeypatch.setenv(offering.VARIABLE, "0")
    assert not offered(["vla"] * 9)


def test_a_gpu_switches_it_off(offered, monkeypatch, tmp_path):
    monkeypatch.setattr(offering, "GPU_DEVICES", (str(tmp_path),))
    assert not offered(["vla"] * 9)


def test_another_command_switches_it_off(offered, monkeypatch, tmp_path):
    (tmp_path / client.COMMAND).write_text(COLD)
    (tmp_path / client.COMMAND).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not offered(["vla"] * 9)
