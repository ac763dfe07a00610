"""How a training is computed: processes, micro-batches, precision, attention, and where its curve is shown.

Without `execution` a training runs in one process on the path that is made for tiny backbones
(training/loop.py). With it, training/distributed/loop.py runs it, for real backbones.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Positive, Strict

Strategy = Literal["single", "ddp", "fsdp2", "zero2"]
Tracker = Literal["tensorboard", "trackio", "wandb"]
WHOLE_MATRICES = ("single", "ddp")  # strategies under which every process holds whole weights


class Execution(Strict):
    """One training on one or several processes.

    `processes`: in all, one a GPU; the environment variable VLM4VLA_PROCESSES takes its place, so that a run
    can go on with more or fewer without a changed setting. `nodes`: machines that share them evenly. `hosts`:
    their names, the first one leads; on Slurm they are known and `hosts` is left out. `port`: where the first
    node listens for the others; with one node nothing listens.

    `micro_batch`: samples that a process computes at once; several are accumulated to the training's `batch`.
    Left out, it is the batch shared among the processes. Augmentation and dropout are drawn for each
    micro-batch: with the same `micro_batch`, any number of processes follows the same curve.

    `attention`: `sdpa` is each family's own choice of torch's kernels; `flash_attention_2` packs a batch
    without its padding, for families whose text is plainly causal; `auto` is that one where family and head
    allow it, else `sdpa`; `eager` writes the products out.
    `compile`: the layers of the model's stacks go through torch.compile, which takes a minute at the start.
    """

    strategy: Strategy = "single"
    processes: Positive = 1
    nodes: Positive = 1
    hosts: list[str] = Field(default_factory=list)
    port: Annotated[int, Field(ge=1024, le=65535)] = 29511
    micro_batch: Positive | None = None
    precision: Literal["float32", "bf16"] = "float32"
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = "sdpa"
    gradient_checkpointing: bool = False
    compile: bool = False
    trackers: list[Tracker] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits(self) -> Execution:
        if self.strategy == "single" and self.processes > 1:
            raise ValueError(
                f"strategy single has one process, processes is {self.processes}: write `strategy: ddp`, "
                "`fsdp2` or `zero2`, or `processes: 1`"
            )
        if self.processes % self.nodes:
            raise ValueError(
                f"{self.nodes} nodes cannot share {self.processes} processes evenly: write processes "
                + _either(_multiples(self.processes, self.nodes))
            )
        if self.hosts and len(self.hosts) != self.nodes:
            raise ValueError(f"hosts names {len(self.hosts)} machines, nodes is {self.nodes}: write as many")
        if len(set(self.trackers)) != len(self.trackers):
            raise ValueError(f"trackers {self.trackers} repeats a name: write each once")
        return self


def micro_batches(batch: int, processes: int, micro_batch: int | None) -> tuple[int, int]:
    """(samples in a micro-batch, micro-batches of each process in an update) for a global `batch`.

    Raises ValueError, naming the nearest numbers that are possible, when they do not divide it.
    """
    size = micro_batch or max(1, batch // processes)
    unit = size * processes if micro_batch else processes
    if batch % unit == 0:
        return (size, batch // unit) if micro_batch else (batch // processes, 1)
    in_pieces = f" in micro-batches of {micro_batch}" if micro_batch else ""
    ways = [f"batch {_either(_multiples(batch, unit))}"]
    counts = [n for n in range(1, batch + 1) if batch % (n * (micro_batch or 1)) == 0]
    if counts:
        ways.append(f"processes {_either(_nearest(counts, processes))}")
    if micro_batch and batch % processes == 0:
        share = batch // processes
        sizes = [n for n in range(1, share + 1) if share % n == 0]
        ways.append(f"micro_batch {_either(_nearest(sizes, micro_batch))}")
    raise ValueError(
        f"{processes} processes cannot share a batch of {batch}{in_pieces}: write " + ", or ".join(ways)
    )


def _multiples(number: int, unit: int) -> list[int]:
    """The multiples of `unit` that are nearest to `number`, below and above."""
    below = number // unit * unit
    return [below, below + unit] if below else [unit]


def _nearest(numbers: list[int], wanted: int) -> list[int]:
    """The largest below `wanted` and the smallest above, where there are such."""
    below = [n for n in numbers if n < wanted]
    above = [n for n in numbers if n > wanted]
    return [*below[-1:], *above[:1]]


def _either(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))
