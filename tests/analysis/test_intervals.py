import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from vlm4vla.analysis.intervals import bootstrap_mean, bounded_mean, percentiles, wilson


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


@pytest.mark.parametrize(("successes", "trials"), [(0, 24), (1, 96), (12, 24), (95, 96), (96, 96), (0, 1000)])
def test_a_bounded_mean_of_successes_is_scipys_exact_interval(successes, trials):
    values = np.repeat([1, 0], [successes, trials - successes])
    exact = stats.binomtest(successes, trials).proportion_ci(method="exact")
    low, high = bounded_mean(values, (0, 1), resamples=100_000)
    assert (low, high) == pytest.approx((exact.low, exact.high), rel=0.03, abs=1e-4)


@pytest.mark.parametrize(("value", "bounds", "count"), [(0, (0, 5), 100), (2, (0, 5), 12), (0, (-1, 1), 96)])
def test_equal_values_leave_the_doubt_of_one_more_value(value, bounds, count):
    doubt = stats.beta.ppf(0.975, 1, count)
    expected = [value + doubt * (bound - value) for bound in bounds]
    assert bounded_mean(np.full(count, value), bounds) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("case", range(5))
def test_a_bounded_mean_is_the_bayesian_bootstrap_with_an_end(case):
    """One Dirichlet weight for each value and one for the bound, without counts of equal values."""
    random = np.random.default_rng(case)
    values = random.integers(0, 6, size=30)
    weights = random.dirichlet(np.ones(31), size=40_000)
    low, high = (weights @ [*values, bound] for bound in (0, 5))
    expected = np.quantile(low, 0.025), np.quantile(high, 0.975)
    assert bounded_mean(values, (0, 5)) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05])
def test_a_bounded_mean_of_rare_values_contains_the_truth(rate):
    """With few values other than 0, the percentile bootstrap misses the mean and this interval does not."""
    random = np.random.default_rng(5)
    samples = random.binomial(1, rate, size=(300, 100)) * random.integers(1, 6, size=(300, 100))
    held = {}
    for name, interval in {
        "bounded": lambda values: bounded_mean(values, (0, 5), resamples=500),
        "bootstrap": lambda values: bootstrap_mean(values, resamples=500),
    }.items():
        limits = np.array([interval(values) for values in samples])
        held[name] = ((limits[:, 0] <= 3 * rate) & (3 * rate <= limits[:, 1])).mean()
    assert held["bounded"] >= 0.95 and held["bounded"] > held["bootstrap"]


def test_a_bounded_mean_refuses_no_values_and_values_outside_the_bounds():
    with pytest.raises(ValueError, match="no values"):
        bounded_mean(np.array([]), (0, 5))
    with pytest.raises(ValueError, match="within"):
        bounded_mean(np.array([1, 6]), (0, 5))
    with pytest.raises(ValueError, match="within"):
        bounded_mean(np.array([np.nan]), (0, 5))
