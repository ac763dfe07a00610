"""Starts the processes of a stage's training, watches them, and ends when they have ended.

Each process runs the same command and reads its rank from its environment (processes.py). On one machine,
the processes find each other through a file and communicate over the loopback interface. If one process
fails, the others are ended. If this process dies, the others end with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError
from vlm4vla.core.processes import Child, exit_on_sigterm
from vlm4vla.training.distributed.nodes import ON_EACH_NODE, PROCESSES, LaunchPlan, launch_plan
from vlm4vla.training.distributed.processes import RENDEZVOUS, USER_ERROR_STATUS, is_worker

LOGS = "processes-of-node"  # in the artefact's folder: the output of all processes but the main one
GRACE_S = 20.0  # seconds that the other processes get to end by themselves after one has failed
POLL_S = 0.2  # seconds between two looks at the processes


def execution_to_launch(settings: Any) -> Execution | None:
    """Return the execution of a stage's training if this process must start the training's processes.

    Return None if this process trains alone, or if it is one of the training's processes.
    """
    execution = getattr(getattr(settings, "training", None), "execution", None)
    if execution is None or is_worker():
        return None
    several = execution.processes > 1 or execution.nodes > 1 or PROCESSES in os.environ
    return execution if several else None


def is_part_of_run(execution: Execution | None) -> bool:
    """Whether another process of the same training holds the lock of the output folder."""
    if is_worker() or ON_EACH_NODE in os.environ:
        return True
    return execution is not None and bool(execution.hosts) and launch_plan(execution, os.environ).node != 0


def run(command: Sequence[str], execution: Execution, output: Path) -> None:
    """Run `command` as the processes of `execution`.

    Raises SystemExit(1) if the main process failed, because it has printed its error. Raises UserError, with
    what is known, if another process failed or if a signal killed a process.
    """
    plan = launch_plan(execution, os.environ)
    with exit_on_sigterm():
        if plan.node is None:
            _run_on_each_node(command, plan)
        else:
            _run_on_this_node(command, plan, output / f"{LOGS}-{plan.node}")


def _run_on_each_node(command: Sequence[str], plan: LaunchPlan) -> None:
    """Run the command once on each node of the Slurm job."""
    if shutil.which("srun") is None:
        raise UserError(
            "execution.nodes: Slurm's `srun` is not found: put it on the PATH, or write `nodes: 1`"
        )
    one_per_node = [f"--nodes={plan.nodes}", f"--ntasks={plan.nodes}", "--ntasks-per-node=1"]
    srun = ["srun", *one_per_node, "--overlap", "--kill-on-bad-exit=1", *command]
    with Child(srun, environment={ON_EACH_NODE: "1"}, patience_s=GRACE_S / 4) as step:
        status = step.wait()
    if status:
        raise SystemExit(1)  # the node that failed has printed its error


def _run_on_this_node(command: Sequence[str], plan: LaunchPlan, logs: Path) -> None:
    first = plan.node * plan.processes_per_node
    shutil.rmtree(logs, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="vlm4vla.") as folder, contextlib.ExitStack() as stack:
        processes: list[Child] = []
        for local in range(plan.processes_per_node):
            rank = first + local
            process = Child(
                command,
                environment=_environment(plan, rank, local, Path(folder)),
                log=logs / f"{rank:05d}.log" if rank else None,
                patience_s=GRACE_S / 4,
                death_signal=signal.SIGKILL,
            )
            processes.append(stack.enter_context(process))
        failed = _wait_for_all(processes)
    if failed is None:
        shutil.rmtree(logs, ignore_errors=True)
        return
    rank, status = first + failed, processes[failed].status
    if rank == 0 and status > 0:
        raise SystemExit(1)  # the main process has printed its error
    raise UserError(_failure_message(rank, status, plan.processes, logs / f"{rank:05d}.log"))


def _environment(plan: LaunchPlan, rank: int, local: int, folder: Path) -> dict[str, str]:
    """Return the variables from which a process reads its rank and how to reach the others."""
    own = {
        "RANK": str(rank),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(plan.processes),
        "LOCAL_WORLD_SIZE": str(plan.processes_per_node),
    }
    if plan.address is None:
        return own | {
            RENDEZVOUS: str(folder / "rendezvous"),
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "lo",
        }
    return own | {"MASTER_ADDR": plan.address, "MASTER_PORT": str(plan.port)}


def _wait_for_all(processes: Sequence[Child]) -> int | None:
    """Wait for all processes. Return the index of a process that failed, or None.

    If several failed, the one whose end tells most is chosen: killed by a signal, then a UserError.
    """
    deadline = None
    while any(process.status is None for process in processes):
        if deadline is None and any(process.status for process in processes):
            deadline = time.monotonic() + GRACE_S
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    statuses = [process.status for process in processes]
    # When one process fails for such a cause, others that wait for it fail too, with less to say.
    for is_cause in (lambda status: status is not None and status < 0, USER_ERROR_STATUS.__eq__, bool):
        for index, status in enumerate(statuses):
            if is_cause(status):
                return index
    return None


def _failure_message(rank: int, status: int, count: int, log: Path) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        ending = f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    else:
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        last = lines[-1].removeprefix("error: ") if lines else "no message"
        if status == USER_ERROR_STATUS:
            return last
        ending = f"ended with status {status} ({last}; full log: {log})"
    return (
        f"process {rank} of {count} {ending}: run the same command again, it resumes from its last checkpoint"
    )


def stage_command(stage: str, settings: str, inputs: Mapping[str, Path | None], output: Path) -> list[str]:
    """Return the command line of a stage."""
    options = [part for name, path in inputs.items() if path is not None for part in (f"--{name}", str(path))]
    return [
        sys.executable,
        "-m",
        "vlm4vla.cli",
        stage,
        "--settings",
        settings,
        *options,
        "--output",
        str(output),
    ]
