"""The types in which weights are trained.

Released checkpoints have bfloat16 weights. AdamW on such weights loses most updates: an update of a
thousandth of a weight is smaller than the distance to the next bfloat16 number. Every training therefore
keeps float32 weights. With `execution`, the strategies make them from the stored weights, and return the
stored type. Without `execution`, the model itself is converted, and saved in float32.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from vlm4vla.backbones import load
from vlm4vla.backbones.loaded import LoadedBackbone
from vlm4vla.backbones.weights import stored_dtype, stored_types
from vlm4vla.config.training import Training
from vlm4vla.training.distributed.processes import is_main

HALF = (torch.bfloat16, torch.float16)


def load_to_train(folder: Path, training: Training) -> LoadedBackbone:
    """Load the backbone in `folder` in the type in which `training` takes it.

    Prints one sentence if the stored weights are not float32. Raises UserError as `vlm4vla.backbones.load`
    does.
    """
    stored = stored_types(folder)
    dtype = "float32" if training.execution is None else stored_dtype(folder)
    if stored != ["float32"] and is_main():
        how = "without `execution` they are" if training.execution is None else "they are"
        types = " and ".join(stored)
        print(
            f"{folder}: the weights are {types}; {how} trained in float32, and saved in {dtype}", flush=True
        )
    return load(folder, dtype="float32" if training.execution is None else "stored")


def convert_half(objective: nn.Module, title: str) -> None:
    """Convert an objective with bfloat16 or float16 weights to float32, in place, and say so."""
    types = {str(p.dtype).removeprefix("torch.") for p in objective.parameters() if p.dtype in HALF}
    if types:
        print(f"{title}: weights in {' and '.join(sorted(types))} are converted to float32", flush=True)
        objective.float()
