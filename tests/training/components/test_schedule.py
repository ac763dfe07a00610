"""The learning-rate schedule against its closed form."""

import math

import pytest
from pydantic import ValidationError

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


@pytest.mark.parametrize(("warmup", "steps", "updates"), [(2500, 50_000, 2500), (250, 900, 250), (2, 10, 2)])
def test_a_whole_number_counts_updates(warmup, steps, updates):
    settings = optimiser(warmup=warmup, schedule="constant")
    factors = [rate_factor(step, steps, settings) for step in range(steps)]
    assert factors == [min((step + 1) / updates, 1.0) for step in range(steps)]


def test_a_number_of_updates_does_not_depend_on_the_length():
    settings = optimiser(warmup=2058, schedule="constant")
    for steps in (30_000, 41_165):
        assert rate_factor(1028, steps, settings) == 1029 / 2058
        assert rate_factor(2057, steps, settings) == rate_factor(steps - 1, steps, settings) == 1.0
    assert round(0.05 * 41_165) == 2058


def test_a_warm_up_above_the_length_lasts_for_the_whole_training():
    settings = optimiser(warmup=250)
    assert [rate_factor(step, 4, settings) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_one_is_the_whole_training_and_a_broken_number_is_refused():
    assert rate_factor(4, 10, optimiser(warmup=1)) == 0.5
    assert optimiser(warmup=0).model_dump(mode="json")["warmup"] == 0.0
    for wrong in (1.5, 2500.5, -1):
        with pytest.raises(ValidationError):
            optimiser(warmup=wrong)
