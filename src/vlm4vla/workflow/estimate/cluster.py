"""The machine or cluster that a study would run on, as the user describes it."""

from __future__ import annotations

from dataclasses import dataclass

from vlm4vla.core.errors import UserError, suggestion


@dataclass(frozen=True)
class Gpu:
    """`flops`: the peak for dense bf16 products in FLOP/s, as the vendor states it. `memory`: bytes."""

    flops: float
    memory: float


GPUS = {
    "a100": Gpu(312e12, 80e9),
    "h100": Gpu(989e12, 80e9),
    "h200": Gpu(989e12, 141e9),
    "b200": Gpu(2250e12, 180e9),
    "l40s": Gpu(362e12, 48e9),
    "rtx4090": Gpu(165e12, 24e9),
}


@dataclass(frozen=True)
class Cluster:
    """CPU `cores`, and `gpus` of one `model` (None without GPUs).

    `gpus_a_job`: the GPUs of a training whose settings do not state a number.
    """

    cores: int
    gpus: int = 0
    model: str | None = None
    gpus_a_job: int = 8

    @property
    def gpu(self) -> Gpu | None:
        return GPUS[self.model] if self.model else None

    def description(self) -> str:
        """`8 H100 GPUs, 128 cores`."""
        gpus = f"{self.gpus} {self.model.upper()} GPU{'s' if self.gpus > 1 else ''}, " if self.model else ""
        return f"{gpus}{self.cores} core{'s' if self.cores > 1 else ''}"


def cluster_from_options(
    cores: int | None, gpus: int, model: str | None, gpus_a_job: int, own_cores: int
) -> Cluster:
    """The cluster that command-line options describe. Raises UserError for invalid numbers and models.

    Without `cores`, the cluster has 16 cores per GPU. Without GPUs as well, it has `own_cores`, the cores of
    this machine.
    """
    if gpus < 0 or gpus_a_job < 1 or (cores is not None and cores < 1):
        raise UserError(
            "--gpus, --gpus-a-job, --cores: invalid number: write 0 or more GPUs, 1 or more GPUs per job, 1 "
            "or more cores"
        )
    if gpus and model is None:
        raise UserError(f"--gpu-model: missing, but --gpus is {gpus}: write one of {', '.join(GPUS)}")
    if model is not None and model not in GPUS:
        raise UserError(f"--gpu-model: unknown model {model!r}: {suggestion(model, GPUS)}")
    if model is not None and not gpus:
        raise UserError(f"--gpus: missing, but --gpu-model is {model}: write the number of GPUs")
    return Cluster(cores or (16 * gpus if gpus else own_cores), gpus, model, gpus_a_job)
