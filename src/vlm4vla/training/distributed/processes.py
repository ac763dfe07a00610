"""Which of a training's processes this one is, and how they talk to each other.

The launcher (launch.py), torchrun and `accelerate launch` say so in RANK, LOCAL_RANK and WORLD_SIZE.
What is sent are tensors only: nothing is pickled.
"""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

from vlm4vla.config.execution import Execution
from vlm4vla.core.errors import UserError

if TYPE_CHECKING:
    import torch

RENDEZVOUS = "VLM4VLA_RENDEZVOUS"  # a file through which the processes of one machine find each other
TOLD = 3  # exit status of a process that has said in one line what the user can mend
PATIENCE = datetime.timedelta(hours=2)  # one process may score or save while the others wait


def is_worker() -> bool:
    """Whether a launcher started this process as one of a training's."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def rank() -> int:
    """This process's number among all of the training's, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes the training has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes artefacts."""
    return rank() == 0


class Group:
    """The training's processes. Attributes: `rank`, `world`, `device` (this process's).

    Raises UserError when `execution` asks for several processes and this one was started alone.
    """

    def __init__(self, execution: Execution):
        import torch

        if execution.processes > 1 and not is_worker():
            raise UserError(
                f"execution.processes is {execution.processes}, and this is one process: start the stage "
                "with `vlm4vla` or torchrun (pre-training runs in one: write `processes: 1` there)"
            )
        self.rank, self.world = rank(), world()
        cuda = torch.cuda.is_available()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if cuda and local >= torch.cuda.device_count():
            raise UserError(
                f"execution.processes: process {local} of this machine has no GPU, it has "
                f"{torch.cuda.device_count()}: write fewer processes, or more nodes"
            )
        self.device = torch.device("cuda", local) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        if is_worker() or execution.strategy in ("fsdp2", "zero2"):
            self._join(cuda)
        from accelerate import PartialState

        PartialState(cpu=not cuda)  # accelerate looks for several processes on CPUs only when told so

    def _join(self, cuda: bool) -> None:
        from torch import distributed

        if distributed.is_initialized():
            return
        # Counts and flags lie in memory and need no GPU.
        how = {"backend": "cpu:gloo,cuda:nccl" if cuda else "gloo", "timeout": PATIENCE}
        who = {"rank": self.rank, "world_size": self.world}
        if self.world == 1:
            distributed.init_process_group(**how, **who, store=distributed.HashStore())
        elif RENDEZVOUS in os.environ:
            distributed.init_process_group(**how, **who, init_method=f"file://{os.environ[RENDEZVOUS]}")
        else:  # several machines, or another launcher: the address is in MASTER_ADDR
            distributed.init_process_group(**how, init_method="env://")

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """`value` summed over all processes, in place."""
        from torch import distributed

        if self.world > 1:
            distributed.all_reduce(value)
        return value

    def all(self, flag: bool) -> bool:
        """Whether `flag` is true in every process."""
        import torch

        return int(self.sum(torch.tensor(int(flag)))) == self.world

    def of_main(self, numbers: list[int]) -> list[int]:
        """The main process's `numbers`, in every process."""
        import torch
        from torch import distributed

        if self.world == 1:
            return numbers
        count = torch.tensor(len(numbers))
        distributed.broadcast(count, 0)
        values = torch.tensor(numbers, dtype=torch.long) if self.rank == 0 else torch.zeros(int(count)).long()
        if int(count):
            distributed.broadcast(values, 0)
        return values.tolist()

    def wait(self) -> None:
        """Until every process is here."""
        import torch

        self.sum(torch.tensor(0))
