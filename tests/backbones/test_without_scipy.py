"""A job's start does not import scipy.optimize, and transformers' losses that need it still work."""

from __future__ import annotations

import subprocess
import sys

import pytest

MATCH = """
import torch
from transformers.loss.loss_for_object_detection import HungarianMatcher
from transformers.loss import loss_for_object_detection as loss
random = torch.Generator().manual_seed(0)
scores, boxes = torch.randn(1, 9, 4, generator=random), torch.rand(1, 9, 4, generator=random)
given = {"logits": scores, "pred_boxes": boxes}
target = {"class_labels": torch.tensor([1, 2, 0]), "boxes": torch.rand(3, 4, generator=random)}
found = [[each.tolist() for each in pair] for pair in HungarianMatcher()(given, [target])]
"""


def run(code: str) -> list[str]:
    return subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()


def test_a_start_imports_nothing_that_its_work_does_not_need():
    """One process imports what the jobs of all stages import."""
    unneeded = ("scipy.optimize", "datasets", "pandas", "matplotlib", "sklearn", "torchvision", "mujoco")
    code = "import sys; from vlm4vla.core.imports import MODULES, load"
    found = run(
        f"{code}\nfor each in MODULES.values(): load(*each)\n"
        f"print([name for name in {unneeded} if name in sys.modules], 'torch' in sys.modules)"
    )
    assert found == ["[] True"]


def test_the_command_line_imports_no_heavy_module():
    heavy = ("torch", "transformers", "accelerate", "scipy", "mujoco", "pyarrow", "PIL")
    [found] = run(f"import sys, vlm4vla.cli; print([name for name in {heavy} if name in sys.modules])")
    assert found == "[]"


@pytest.fixture(scope="module")
def plain():
    """Whether transformers' models import scipy.optimize by themselves, and the match of a detector."""
    return run(
        f"import sys, transformers.modeling_utils\nprint('scipy.optimize' in sys.modules){MATCH}print(found)"
    )


def test_a_detector_is_matched_as_without_this_module(plain):
    deferred = run(
        f"import sys, vlm4vla.backbones.without_scipy{MATCH}"
        "print(found)\nprint('scipy.optimize' in sys.modules, loss.is_scipy_available())"
    )
    assert deferred == [plain[1], "True True"]


def test_transformers_still_imports_it_by_itself(plain):
    """If this fails, transformers has changed: remove `without_scipy`."""
    assert plain[0] == "True"
