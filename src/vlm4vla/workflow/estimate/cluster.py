"""The machine that a study is to run on, as its owner states it."""

from __future__ import annotations

from dataclasses import dataclass

from vlm4vla.core.errors import UserError, nearest


@dataclass(frozen=True)
class Gpu:
    """`flops`: dense bf16 products, FLOP/s, as the maker states them; `memory`: bytes."""

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
    """`gpus` of one `model` (None without any), and `cores`; `gpus_a_job`: of a training that states none."""

    cores: int
    gpus: int = 0
    model: str | None = None
    gpus_a_job: int = 8

    @property
    def gpu(self) -> Gpu | None:
        return GPUS[self.model] if self.model else None

    def told(self) -> str:
        """In words."""
        gpus = f"{self.gpus} {self.model.upper()}, " if self.model else ""
        return f"{gpus}{self.cores} core{'s' if self.cores > 1 else ''}"


def state_cluster(
    cores: int | None, gpus: int, model: str | None, gpus_a_job: int, own_cores: int
) -> Cluster:
    """A cluster from command-line arguments. Raises UserError for numbers and models that cannot be.

    `own_cores`: of this machine, which stand where neither cores nor GPUs are stated; beside GPUs, sixteen
    cores for each are assumed.
    """
    if gpus < 0 or gpus_a_job < 1 or (cores is not None and cores < 1):
        raise UserError("--gpus, --gpus-a-job, --cores: write 0 or more GPUs, 1 or more of the others")
    if gpus and model is None:
        raise UserError(f"--gpu-model: missing beside --gpus {gpus}: write one of {', '.join(GPUS)}")
    if model is not None and model not in GPUS:
        raise UserError(f"--gpu-model: unknown model {model!r}: {nearest(model, GPUS)}")
    if model is not None and not gpus:
        raise UserError(f"--gpus: missing beside --gpu-model {model}: write how many there are")
    return Cluster(cores or (16 * gpus if gpus else own_cores), gpus, model, gpus_a_job)
