"""Which machines share a training, and which of them this is."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError

PROCESSES = "VLM4VLA_PROCESSES"  # takes the place of execution.processes
ON_EACH_NODE = "VLM4VLA_ON_EACH_NODE"  # set where this package's srun has started one command a node


@dataclass(frozen=True)
class Plan:
    """`processes` in all on `nodes` machines, of which this is number `node`, None while nothing has been
    started on the others. `address` and `port`: where the first listens; None with one node."""

    processes: int
    nodes: int
    node: int | None
    address: str | None
    port: int

    @property
    def each(self) -> int:
        """Processes of one machine."""
        return self.processes // self.nodes


def plan(execution: Execution, environment: Mapping[str, str]) -> Plan:
    """How a training is to be started on this machine, from configuration and environment.

    Raises UserError when nodes cannot share the processes, or when it is not known which machine is which.
    """
    processes = execution.processes
    if PROCESSES in environment:
        if not re.fullmatch(r"[1-9]\d*", environment[PROCESSES]):
            raise UserError(f"{PROCESSES}: {environment[PROCESSES]!r} is no number of processes: write one")
        processes = int(environment[PROCESSES])
    nodes = execution.nodes
    if processes % nodes:
        raise UserError(
            f"{PROCESSES}: {nodes} nodes cannot share {processes} processes: write a multiple of {nodes}"
        )
    if nodes == 1:
        return Plan(processes, 1, 0, None, execution.port)
    if execution.hosts:
        return Plan(processes, nodes, _own_number(execution.hosts), execution.hosts[0], execution.port)
    names = hostnames(environment.get("SLURM_JOB_NODELIST", ""))
    if len(names) != nodes:
        raise UserError(
            f"execution.nodes: {nodes}, and this job has {len(names) or 'no'} Slurm nodes: ask Slurm for "
            f"`--nodes={nodes}`, or write the machines' names as execution.hosts"
        )
    node = int(environment["SLURM_NODEID"]) if ON_EACH_NODE in environment else None
    return Plan(processes, nodes, node, names[0], execution.port)


def _own_number(hosts: list[str]) -> int:
    own = socket.gethostname()
    for number, host in enumerate(hosts):
        if host == own or host.split(".")[0] == own.split(".")[0]:
            return number
    raise UserError(f"execution.hosts: {own} is not among {', '.join(hosts)}: write its name there")


def hostnames(written: str) -> list[str]:
    """Slurm's short form of a list of hosts, such as `gpu[1-3,07],login`, written out.

    Raises UserError for what is no such list.
    """
    names: list[str] = []
    for part in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", written):
        stems = [""]
        for text, numbers in re.findall(r"([^\[\]]+)|\[([^\[\]]*)\]", part):
            ends = (
                [text] if text else [end for piece in numbers.split(",") for end in _numbers(piece, written)]
            )
            stems = [stem + end for stem in stems for end in ends]
        names += stems
    return names


def _numbers(piece: str, written: str) -> list[str]:
    """`08-10` as 08, 09, 10."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", piece)
    if not found:
        raise UserError(f"SLURM_JOB_NODELIST: {written!r} is no list of hosts: check the job's environment")
    first, last = found[1], found[2] or found[1]
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
