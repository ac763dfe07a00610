"""Holm's correction against its definition, written another way."""

from __future__ import annotations

import numpy as np
import pytest

from vlm4vla.analysis.holm import holm


def rejected(p: list[float], level: float) -> set[int]:
    """Step down: reject the smallest p while it is at most level / (tests left)."""
    out: set[int] = set()
    for step, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[index] > level / (len(p) - step):
            break
        out.add(index)
    return out


@pytest.mark.parametrize("seed", range(20))
def test_same_rejections_as_stepping_down(seed):
    random = np.random.default_rng(seed)
    p = list(random.uniform(size=random.integers(1, 30)) ** 3)
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.2):
        assert {i for i, value in enumerate(adjusted) if value <= level} == rejected(p, level)


def test_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.5, 0.5]) == [1.0, 1.0]
    assert holm([1.0]) == [1.0]
