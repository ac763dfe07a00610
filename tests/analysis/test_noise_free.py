import numpy as np
import pytest

from vlm4vla.analysis.noise_free import noise_free_interval, shared_noise_variance


def true_scores(r, points, random):
    """Two vectors with the exact correlation r and the variance 1."""
    x, y = random.normal(size=(2, points))
    x = (x - x.mean()) / x.std(ddof=1)
    y = y - y.mean() - x * (x @ y) / (x @ x)
    return x, r * x + np.sqrt(1 - r * r) * y / y.std(ddof=1)


@pytest.mark.parametrize("r", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("variances", [(0.5, 1.0), (0.1, 0.1)])
def test_the_interval_contains_the_correlation_of_the_true_scores(r, variances):
    random, held = np.random.default_rng(4), 0
    for run in range(200):
        noisy = [
            side + np.sqrt(variance) * random.normal(size=10)
            for side, variance in zip(true_scores(r, 10, random), variances, strict=True)
        ]
        low, high = noise_free_interval(*noisy, *variances, draws=500, seed=run)
        held += low <= r <= high
    assert held / 200 >= 0.92


def test_without_noise_the_interval_is_r_itself():
    x, y = true_scores(0.634, 8, np.random.default_rng(1))
    assert noise_free_interval(x, y, 0.0, 0.0) == pytest.approx((0.634, 0.634), abs=0.05)


def test_noise_as_large_as_the_spread_excludes_nothing():
    x, y = true_scores(0.9, 8, np.random.default_rng(1))
    assert noise_free_interval(x, y, 1.1, 0.1) == noise_free_interval(x, y, 1.0, 0.1) == (-1.0, 1.0)
    assert noise_free_interval(x[:3], y[:3], 0.1, 0.1) == (None, None)
    assert noise_free_interval(np.ones(8), y, 0.1, 0.1) == (None, None)


def test_the_noise_of_shared_states_is_that_of_the_differences():
    """The variance of a difference of two policies is twice that of the noise which they do not share."""
    random = np.random.default_rng(6)
    chance = np.clip(random.normal(0.5, 0.3, size=(1000, 200, 1)), 0, 1)  # of a state, for both policies
    solved = (random.uniform(size=(1000, 200, 2)) < chance).astype(float)
    difference = solved.mean(axis=1) @ np.array([1.0, -1.0])
    estimates = [shared_noise_variance(each) for each in solved[:100]]
    assert np.mean(estimates) == pytest.approx(difference.var() / 2, rel=0.1)
    tasks = np.repeat([0, 1], 100)
    shifted = solved[0] + tasks[:, None] * np.array([0.0, 9.0])  # the policies differ by task
    assert shared_noise_variance(shifted, tasks) == pytest.approx(shared_noise_variance(solved[0], tasks))
    assert shared_noise_variance(shifted, np.arange(200)) == shared_noise_variance(shifted)  # one state each
    assert shared_noise_variance(shifted) > 10 * shared_noise_variance(shifted, tasks)
    assert shared_noise_variance(np.ones((1, 3))) == 0.0
