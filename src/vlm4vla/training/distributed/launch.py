"""A stage whose training has several processes: this one starts them, watches them and ends when they do.

Each runs the same command and learns from its environment which one it is (processes.py). On one
machine they find each other through a file and talk over the loopback interface. When one ends badly the
others are ended; when this process dies, they die with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError
from vlm4vla.training.distributed.nodes import ON_EACH_NODE, PROCESSES, Plan, plan
from vlm4vla.training.distributed.processes import RENDEZVOUS, TOLD, is_worker

LOGS = "processes-of-node"  # folder in the artefact's: what all processes but the main one say
GRACE = 20.0  # seconds in which the others may end by themselves after one has
LOOK_EVERY = 0.2  # seconds
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def execution_of(settings: Any) -> Execution | None:
    """How the training of a stage's settings is to be started as several processes, or None where this one
    does it alone, or is one of them."""
    execution = getattr(getattr(settings, "training", None), "execution", None)
    if execution is None or is_worker():
        return None
    several = execution.processes > 1 or execution.nodes > 1 or PROCESSES in os.environ
    return execution if several else None


def is_part(execution: Execution | None) -> bool:
    """Whether another process of this package holds the output folder for this one too."""
    if is_worker() or ON_EACH_NODE in os.environ:
        return True
    return execution is not None and bool(execution.hosts) and plan(execution, os.environ).node != 0


def run(command: Sequence[str], execution: Execution, output: Path) -> None:
    """Run `command` as the processes that `execution` asks for.

    Raises SystemExit(1) when the main process has said what was wrong, and UserError, with what is known,
    when another one failed or one was killed.
    """
    how = plan(execution, os.environ)
    with _terminable():
        if how.node is None:
            _on_each_node(command, how)
        else:
            _on_this_node(command, how, output / f"{LOGS}-{how.node}")


def _on_each_node(command: Sequence[str], how: Plan) -> None:
    """Within a Slurm job: the same command once on each of its nodes."""
    if shutil.which("srun") is None:
        raise UserError(
            "execution.nodes: Slurm's `srun` is not found: put it on the PATH, or write `nodes: 1`"
        )
    once = [f"--nodes={how.nodes}", f"--ntasks={how.nodes}", "--ntasks-per-node=1"]
    started = ["srun", *once, "--overlap", "--kill-on-bad-exit=1", *command]
    with _ended_with_us(subprocess.Popen(started, env={**os.environ, ON_EACH_NODE: "1"})) as step:
        status = step.wait()
    if status:
        raise SystemExit(1)  # the node that failed has said why


def _on_this_node(command: Sequence[str], how: Plan, logs: Path) -> None:
    first = how.node * how.each
    shutil.rmtree(logs, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="vlm4vla.") as folder, contextlib.ExitStack() as stack:
        processes: list[subprocess.Popen] = []
        for local in range(how.each):
            rank = first + local
            environment = {**os.environ, **_environment(how, rank, local, Path(folder))}
            said = None
            if rank:
                logs.mkdir(parents=True, exist_ok=True)
                said = stack.enter_context((logs / f"{rank:05d}.log").open("w"))
            process = subprocess.Popen(
                command, env=environment, stdout=said, stderr=said, preexec_fn=_die_with_parent
            )
            processes.append(stack.enter_context(_ended_with_us(process)))
        failed = _watch(processes)
    if failed is None:
        shutil.rmtree(logs, ignore_errors=True)
        return
    rank, status = first + failed, processes[failed].returncode
    if rank == 0 and status > 0:
        raise SystemExit(1)  # it has said why
    raise UserError(_what_happened(rank, status, how.processes, logs / f"{rank:05d}.log"))


def _environment(how: Plan, rank: int, local: int, folder: Path) -> dict[str, str]:
    """What tells a process which one it is."""
    own = {
        "RANK": str(rank),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(how.processes),
        "LOCAL_WORLD_SIZE": str(how.each),
    }
    if how.address is None:
        return own | {
            RENDEZVOUS: str(folder / "rendezvous"),
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "lo",
        }
    return own | {"MASTER_ADDR": how.address, "MASTER_PORT": str(how.port)}


def _watch(processes: Sequence[subprocess.Popen]) -> int | None:
    """Wait for all; the number of one that failed, of several the one that says most, or None."""
    deadline = None
    while any(process.poll() is None for process in processes):
        if deadline is None and any(process.poll() for process in processes):
            deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(LOOK_EVERY)
    ended = [process.poll() for process in processes]
    # One that is killed, or that says what is wrong, makes others fail that wait for it.
    for wanted in (lambda status: status is not None and status < 0, TOLD.__eq__, bool):
        for number, status in enumerate(ended):
            if wanted(status):
                return number
    return None


def _what_happened(rank: int, status: int, count: int, log: Path) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        said = f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    else:
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        last = lines[-1].removeprefix("error: ") if lines else "no message"
        if status == TOLD:
            return last
        said = f"ended with status {status} ({last}; all of it: {log})"
    return f"process {rank} of {count} {said}: start the same again, it goes on from its last checkpoint"


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """After it, `process` has ended, if need be by force."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE / 4)
        if process.poll() is None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Within, SIGTERM ends this process as an exception does: what it started is ended too."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _die_with_parent() -> None:
    """In a new process: let the kernel end it when its parent dies, however that happens."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def command_of(stage: str, settings: str, inputs: Mapping[str, Path | None], output: Path) -> list[str]:
    """The command line of a stage."""
    given = [part for name, path in inputs.items() if path is not None for part in (f"--{name}", str(path))]
    return [
        sys.executable,
        "-m",
        "vlm4vla.cli",
        stage,
        "--settings",
        settings,
        *given,
        "--output",
        str(output),
    ]
