"""Whether a run on this machine has the GPUs that its trainings take."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from vlm4vla.core.errors import UserError

DEVICES = ("nvidia[0-9]*", "kfd")  # below /dev: NVIDIA's cards, AMD's driver


def check_gpus(needed: int, offered: int | None, devices: Path = Path("/dev")) -> None:
    """Refuse a training on more GPUs than `--resources gpu=` offers (None: not said), which Snakemake would
    start all the same; note on standard error where this machine shows none at all."""
    if not needed:
        return
    if offered is not None and needed > offered:
        raise UserError(
            f"--resources gpu={offered}: a training asked for takes {needed} GPUs, one for each of its "
            f"processes: write fewer `processes` in its `execution`, or --resources gpu={needed}"
        )
    if not any(_found(devices)):
        print(
            f"note: {devices} shows no GPU: trainings of released checkpoints would run on the CPU",
            file=sys.stderr,
        )


def _found(devices: Path) -> Iterable[Path]:
    for pattern in DEVICES:
        yield from devices.glob(pattern)
