import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from vlm4vla.analysis.intervals import bootstrap_mean, percentiles, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 24), (1, 24), (12, 24), (24, 24), (317, 500)])
def test_wilson_is_scipys(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("case", range(20))
def test_wilson_is_statsmodels(case):
    random = np.random.default_rng(case)
    trials = int(random.integers(1, 600))
    successes = int(random.integers(trials + 1))
    expected = proportion_confint(successes, trials, method="wilson")
    assert wilson(successes, trials) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", range(20))
def test_bootstrap_of_successes_has_the_binomials_quantiles(case):
    """The number of resampled successes is binomial, so the limits are known without resampling."""
    random = np.random.default_rng(case)
    trials = int(random.integers(20, 400))
    successes = int(random.integers(trials + 1))
    low, high = bootstrap_mean(np.repeat([1, 0], [successes, trials - successes]))
    expected = stats.binom.ppf([0.025, 0.975], trials, successes / trials)
    assert (low * trials, high * trials) == pytest.approx(expected, abs=1.01)  # a tolerance of one success


def test_bootstrap_without_spread_is_a_point():
    assert bootstrap_mean(np.array([3])) == (3.0, 3.0)
    assert bootstrap_mean(np.zeros(96)) == (0.0, 0.0)
    assert percentiles(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))


def test_wilson_reaches_the_ends_exactly():
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, trials)


def test_bootstrap_is_near_the_normal_interval_for_many_values():
    values = np.random.default_rng(1).integers(0, 6, size=400)
    low, high = bootstrap_mean(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.012)


def test_bootstrap_is_scipys_percentile_interval():
    values = np.random.default_rng(2).integers(0, 6, size=60)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(3)
    ).confidence_interval
    assert bootstrap_mean(values) == pytest.approx((expected.low, expected.high), abs=0.05)


def test_bootstrap_repeats_and_ignores_order():
    values = np.random.default_rng(3).integers(0, 6, size=50)
    assert bootstrap_mean(values) == bootstrap_mean(values[::-1])
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean(np.array([]))
