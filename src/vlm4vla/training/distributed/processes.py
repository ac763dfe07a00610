"""This process's place among the processes of a training, and how the processes communicate.

The launcher (launch.py), torchrun and `accelerate launch` set RANK, LOCAL_RANK and WORLD_SIZE. Processes send
tensors only: nothing is pickled.
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
USER_ERROR_STATUS = 3  # exit status of a process that has printed a UserError
TIMEOUT = datetime.timedelta(hours=2)  # one process may score or save while the others wait


def is_worker() -> bool:
    """Whether a launcher started this process as one of a training's processes."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def rank() -> int:
    """Return this process's number among all processes of the training, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes of the training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes artefacts."""
    return rank() == 0


class ProcessGroup:
    """The processes of a training. Attributes: `rank`, `world_size`, and `device` of this process.

    Raises UserError if `execution` needs several processes but this process was started alone, or if this
    process has no GPU on a machine with GPUs.
    """

    def __init__(self, execution: Execution):
        import torch

        if execution.processes > 1 and not is_worker():
            raise UserError(
                f"execution.processes is {execution.processes}, but this is a single process: start the "
                "stage with `vlm4vla` or torchrun (pre-training has one process: write `processes: 1` there)"
            )
        self.rank, self.world_size = rank(), world_size()
        cuda = torch.cuda.is_available()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if cuda and local >= torch.cuda.device_count():
            raise UserError(
                f"execution.processes: process {local} of this machine has no GPU, because the machine has "
                f"{torch.cuda.device_count()}: write fewer processes, or more nodes"
            )
        self.device = torch.device("cuda", local) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        if is_worker() or execution.strategy in ("fsdp2", "zero2"):
            self._join(cuda)
        from accelerate import PartialState

        PartialState(cpu=not cuda)  # without `cpu`, accelerate does not look for several processes on CPUs

    def _join(self, cuda: bool) -> None:
        from torch import distributed

        if distributed.is_initialized():
            return
        # Gloo serves counts and flags, which are in CPU memory.
        options = {"backend": "cpu:gloo,cuda:nccl" if cuda else "gloo", "timeout": TIMEOUT}
        place = {"rank": self.rank, "world_size": self.world_size}
        if self.world_size == 1:
            distributed.init_process_group(**options, **place, store=distributed.HashStore())
        elif RENDEZVOUS in os.environ:
            file = f"file://{os.environ[RENDEZVOUS]}"
            distributed.init_process_group(**options, **place, init_method=file)
        else:  # several machines, or another launcher: the address is in MASTER_ADDR
            distributed.init_process_group(**options, init_method="env://")

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Sum `value` over all processes, in place, and return it."""
        from torch import distributed

        if self.world_size > 1:
            distributed.all_reduce(value)
        return value

    def all(self, flag: bool) -> bool:
        """Whether `flag` is true in every process."""
        import torch

        return int(self.sum(torch.tensor(int(flag)))) == self.world_size

    def broadcast_from_main(self, numbers: list[int]) -> list[int]:
        """Return the main process's `numbers`, in every process."""
        import torch
        from torch import distributed

        if self.world_size == 1:
            return numbers
        count = torch.tensor(len(numbers))
        distributed.broadcast(count, 0)
        values = torch.tensor(numbers, dtype=torch.long) if self.rank == 0 else torch.zeros(int(count)).long()
        if int(count):
            distributed.broadcast(values, 0)
        return values.tolist()

    def wait(self) -> None:
        """Wait until every process has made this call."""
        import torch

        self.sum(torch.tensor(0))
