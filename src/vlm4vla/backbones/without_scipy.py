"""Importing this module imports transformers' losses without scipy.optimize, before any model is imported.

transformers 5 imports all its losses with the first model, and those of object detectors import
scipy.optimize. That takes a tenth of the start of a job, and no VLM has such a loss. There is no setting for
it: the losses ask `transformers.utils.is_scipy_available` while they are imported. Afterwards they find scipy
as usual, and import its function when they call it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from transformers import utils

LOSSES = "transformers.loss"
FUNCTION = "linear_sum_assignment"  # the one function that the losses import


def _linear_sum_assignment(*arguments: Any, **named: Any) -> Any:
    """`scipy.optimize.linear_sum_assignment`, which is imported now."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(*arguments, **named)


def _import_losses() -> None:
    available = utils.is_scipy_available
    if not available() or "scipy.optimize" in sys.modules or f"{LOSSES}.loss_utils" in sys.modules:
        return

    def not_yet() -> bool:
        return False

    utils.is_scipy_available = not_yet
    try:
        importlib.import_module(f"{LOSSES}.loss_utils")
    finally:
        utils.is_scipy_available = available
        for name, module in list(sys.modules.items()):
            if getattr(module, "is_scipy_available", None) is not_yet:
                module.is_scipy_available = available
                if name.startswith(f"{LOSSES}."):
                    vars(module).setdefault(FUNCTION, _linear_sum_assignment)


_import_losses()
