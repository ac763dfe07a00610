"""The machines that share a training, and which of them this machine is."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError

PROCESSES = "VLM4VLA_PROCESSES"  # overrides execution.processes
ON_EACH_NODE = "VLM4VLA_ON_EACH_NODE"  # set if this package's srun has started one command per node


@dataclass(frozen=True)
class LaunchPlan:
    """`processes` in total on `nodes` machines.

    `node`: this machine's number; None if Slurm has not started the command on the other nodes yet.
    `address` and `port`: where the first node listens; with one node, `address` is None.
    """

    processes: int
    nodes: int
    node: int | None
    address: str | None
    port: int

    @property
    def processes_per_node(self) -> int:
        return self.processes // self.nodes


def launch_plan(execution: Execution, environment: Mapping[str, str]) -> LaunchPlan:
    """Return how to start a training on this machine, from configuration and environment.

    Raises UserError if the nodes cannot share the processes evenly, or if the number of this node is unknown.
    """
    processes = execution.processes
    if PROCESSES in environment:
        if not re.fullmatch(r"[1-9]\d*", environment[PROCESSES]):
            raise UserError(
                f"{PROCESSES}: {environment[PROCESSES]!r} is not a number of processes: write 1 or more"
            )
        processes = int(environment[PROCESSES])
    nodes = execution.nodes
    if processes % nodes:
        raise UserError(
            f"{PROCESSES}: {nodes} nodes cannot share {processes} processes: write a multiple of {nodes}"
        )
    if nodes == 1:
        return LaunchPlan(processes, 1, 0, None, execution.port)
    if execution.hosts:
        number = _own_number(execution.hosts)
        return LaunchPlan(processes, nodes, number, execution.hosts[0], execution.port)
    names = expand_hosts(environment.get("SLURM_JOB_NODELIST", ""))
    if len(names) != nodes:
        raise UserError(
            f"execution.nodes is {nodes}, but this job has {len(names) or 'no'} Slurm nodes: ask Slurm for "
            f"`--nodes={nodes}`, or write the machines' names as execution.hosts"
        )
    node = int(environment["SLURM_NODEID"]) if ON_EACH_NODE in environment else None
    return LaunchPlan(processes, nodes, node, names[0], execution.port)


def _own_number(hosts: list[str]) -> int:
    own = socket.gethostname()
    for number, host in enumerate(hosts):
        if host == own or host.split(".")[0] == own.split(".")[0]:
            return number
    raise UserError(
        f"execution.hosts: this machine, {own}, is not among {', '.join(hosts)}: write its name there"
    )


def expand_hosts(hostlist: str) -> list[str]:
    """Expand Slurm's short form of a list of hosts, such as `gpu[1-3,07],login`.

    Raises UserError if a range in brackets is not made of numbers.
    """
    names: list[str] = []
    for part in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", hostlist):
        stems = [""]
        for text, ranges in re.findall(r"([^\[\]]+)|\[([^\[\]]*)\]", part):
            ends = (
                [text]
                if text
                else [end for piece in ranges.split(",") for end in _expand_range(piece, hostlist)]
            )
            stems = [stem + end for stem in stems for end in ends]
        names += stems
    return names


def _expand_range(piece: str, hostlist: str) -> list[str]:
    """Expand `08-10` to 08, 09, 10."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", piece)
    if not match:
        raise UserError(
            f"SLURM_JOB_NODELIST: {hostlist!r} is not a list of hosts: check the job's environment"
        )
    first, last = match[1], match[2] or match[1]
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
