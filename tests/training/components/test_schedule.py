"""The learning-rate schedule against its closed form."""

import math

import pytest

from vlm4vla.config.training import Optimiser
from vlm4vla.training.components.optimisers import rate_factor


def optimiser(**options):
    return Optimiser(learning_rate=1.0, **options)


def test_warmup_is_linear_and_reaches_the_rate():
    factors = [rate_factor(step, 100, optimiser(warmup=0.1)) for step in range(11)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1


def test_cosine_passes_the_middle_and_ends_at_final():
    settings = optimiser(warmup=0.0, final=0.2)
    assert rate_factor(0, 101, settings) == 1
    assert rate_factor(50, 101, settings) == pytest.approx(0.6)
    assert rate_factor(25, 101, settings) == pytest.approx(0.2 + 0.4 * (1 + math.cos(math.pi / 4)))
    assert rate_factor(100, 101, settings) == pytest.approx(0.2)


def test_a_constant_rate_stays():
    assert {rate_factor(step, 50, optimiser(warmup=0.0, schedule="constant")) for step in range(50)} == {1.0}


def test_one_step_is_possible():
    assert rate_factor(0, 1, optimiser()) == 1
