"""How a training is executed: processes, micro-batches, precision, attention and trackers.

A training without `execution` runs in one process on a code path for tiny backbones (training/loop.py). A
training with `execution` is run by training/distributed/loop.py, which is for real backbones.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlm4vla.config.base import Positive, Strict

Strategy = Literal["single", "ddp", "fsdp2", "zero2"]
Tracker = Literal["tensorboard", "trackio", "wandb"]
WHOLE_MATRICES = ("single", "ddp")  # the strategies under which every process holds whole weights


class Execution(Strict):
    """How one training is executed, in one process or in several. docs/training.md has examples."""

    strategy: Strategy = Field(
        "single",
        description="`single`: one process. `ddp`: every process holds the whole model. `fsdp2`: weights, "
        "gradients and optimiser state are split among the processes. `zero2`: DeepSpeed splits gradients "
        "and optimiser state; every process holds the whole model.",
    )
    processes: Positive = Field(
        1,
        description="Number of processes over all nodes, one per GPU. The environment variable "
        "VLM4VLA_PROCESSES overrides it, so that a training can resume with another number of processes "
        "without a change of its settings.",
    )
    nodes: Positive = Field(1, description="Number of machines, which share the processes evenly.")
    hosts: list[str] = Field(
        default_factory=list,
        description="Names of the machines; the first machine coordinates. On Slurm, omit this key: Slurm "
        "provides the names.",
    )
    port: Annotated[int, Field(ge=1024, le=65535)] = Field(
        29511, description="With several machines: the port on which the first machine listens."
    )
    micro_batch: Positive | None = Field(
        None,
        description="Samples that a process computes at once. Gradients are accumulated over micro-batches "
        "until the `batch` of the training is complete. The default is the batch divided by the number of "
        "processes. Augmentation and dropout are drawn per micro-batch, so trainings with the same "
        "`micro_batch` have the same loss curve with any number of processes, up to rounding.",
    )
    precision: Literal["float32", "bf16"] = Field("float32", description="Precision of the computation.")
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = Field(
        "sdpa",
        description="`sdpa`: the default of each family, in most cases PyTorch's "
        "scaled_dot_product_attention. `flash_attention_2`: FlashAttention-2 without padding, for families "
        "with plain causal attention. `auto`: flash_attention_2 if the family and the head allow it, "
        "otherwise sdpa. `eager`: no fused kernel.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, more time."
    )
    compile: bool = Field(
        False, description="Compile the layers with torch.compile, which takes about a minute at the start."
    )
    trackers: list[Tracker] = Field(
        default_factory=list,
        description="Trackers that receive the training curve, in addition to train.jsonl.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Execution:
        if self.strategy == "single" and self.processes > 1:
            raise ValueError(
                f"strategy single has one process, but processes is {self.processes}: write `strategy: ddp`, "
                "`fsdp2` or `zero2`, or `processes: 1`"
            )
        if self.processes % self.nodes:
            raise ValueError(
                f"{self.nodes} nodes cannot share {self.processes} processes evenly: write processes "
                + _join(_multiples(self.processes, self.nodes))
            )
        if self.hosts and len(self.hosts) != self.nodes:
            raise ValueError(
                f"hosts lists {len(self.hosts)} machines, but nodes is {self.nodes}: write equal numbers"
            )
        if len(set(self.hosts)) != len(self.hosts):
            raise ValueError(f"hosts {self.hosts} repeats a machine: write each once")
        if len(set(self.trackers)) != len(self.trackers):
            raise ValueError(f"trackers {self.trackers} repeats a name: write each once")
        return self


def micro_batches(batch: int, processes: int, micro_batch: int | None) -> tuple[int, int]:
    """(samples per micro-batch, micro-batches per process and update) for a global `batch`.

    Raises ValueError if the batch cannot be divided; the message contains the nearest possible numbers.
    """
    size = micro_batch or max(1, batch // processes)
    unit = size * processes if micro_batch else processes
    if batch % unit == 0:
        return (size, batch // unit) if micro_batch else (batch // processes, 1)
    in_micro_batches = f" in micro-batches of {micro_batch}" if micro_batch else ""
    fixes = [f"batch {_join(_multiples(batch, unit))}"]
    counts = [n for n in range(1, batch + 1) if batch % (n * (micro_batch or 1)) == 0]
    if counts:
        fixes.append(f"processes {_join(_neighbours(counts, processes))}")
    if micro_batch and batch % processes == 0:
        share = batch // processes
        sizes = [n for n in range(1, share + 1) if share % n == 0]
        fixes.append(f"micro_batch {_join(_neighbours(sizes, micro_batch))}")
    raise ValueError(
        f"{processes} processes cannot share a batch of {batch}{in_micro_batches}: write "
        + ", or ".join(fixes)
    )


def _multiples(number: int, unit: int) -> list[int]:
    """The nearest multiples of `unit` below and above `number`."""
    below = number // unit * unit
    return [below, below + unit] if below else [unit]


def _neighbours(numbers: list[int], wanted: int) -> list[int]:
    """The largest number below `wanted` and the smallest above it, if they exist."""
    below = [n for n in numbers if n < wanted]
    above = [n for n in numbers if n > wanted]
    return [*below[-1:], *above[:1]]


def _join(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))
