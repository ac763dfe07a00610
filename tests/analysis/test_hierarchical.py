import numpy as np
import pytest
from scipy import stats

from vlm4vla.analysis.hierarchical import _components, _two_level_means, two_level_bootstrap
from vlm4vla.analysis.intervals import percentiles


def crossed(case, seeds=3, states=40, spread=0.6):
    random = np.random.default_rng(case)
    skill = random.normal(0, spread, size=(seeds, 1)) + random.normal(0, 1, size=(1, states))
    return (random.uniform(size=(seeds, states)) < 1 / (1 + np.exp(-skill))).astype(float)


def anova(outcomes):
    """Mean squares of seeds, states and residual in a two-way layout, from a regression on dummies."""
    seeds, states = outcomes.shape
    y = outcomes.ravel()
    rows, columns = np.divmod(np.arange(y.size), states)

    def left_over(*factors):
        design = np.concatenate([np.ones((y.size, 1)), *(np.eye(k)[f] for f, k in factors)], axis=1)
        return ((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum()

    both = left_over((rows, seeds), (columns, states))
    of_seeds = left_over((columns, states)) - both
    of_states = left_over((rows, seeds)) - both
    freedom = seeds - 1, states - 1, (seeds - 1) * (states - 1)
    return [s / f for s, f in zip((of_seeds, of_states, both), freedom, strict=True)], freedom


@pytest.mark.parametrize("case", range(20))
def test_components_are_those_of_an_analysis_of_variance(case):
    outcomes = crossed(case)
    (a, b, e), freedom = anova(outcomes)
    share, degrees = _components(outcomes, np.zeros(outcomes.shape[1], dtype=int), False)
    assert share**2 == pytest.approx(max(0, a - e) / a)
    parts = zip((a, b, e), freedom, strict=True) if a > e else [(b, freedom[1])]
    expected = (max(0, a - e) + b) ** 2 / sum(square**2 / f for square, f in parts)
    least = min(freedom) if a > e else freedom[1]
    assert degrees == pytest.approx(max(least, expected))


@pytest.mark.parametrize("case", range(20))
def test_width_is_that_of_the_normal_theory_interval(case):
    """With many seeds and states, the variance of the bootstrap is that of the two-way random layout."""
    random = np.random.default_rng(case)
    outcomes = random.normal(size=(30, 1)) + random.normal(size=(1, 60)) + random.normal(size=(30, 60))
    (a, b, e), _ = anova(outcomes)
    _, degrees = _components(outcomes, np.zeros(60, dtype=int), False)
    half = stats.t.isf(0.025, degrees) * np.sqrt((a - e + b) / outcomes.size)
    low, high = percentiles(_two_level_means(outcomes, np.zeros(60, dtype=int), False, 0.95, 10_000, 1))
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)
    assert (low + high) / 2 == pytest.approx(outcomes.mean(), abs=0.25 * half)


def test_equal_seeds_leave_only_states():
    """The result is then SciPy's bootstrap over states."""
    states = crossed(1)[0]
    low, high = two_level_bootstrap(np.stack([states, states]))
    expected = stats.bootstrap(
        (states,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(0)
    ).confidence_interval
    assert low < expected.low and expected.high < high
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.04)  # one of 41 states more


def test_equal_states_leave_only_seeds():
    outcomes = np.repeat([[0.2], [0.4], [0.9]], 10, axis=1)
    low, high = percentiles(_two_level_means(outcomes, np.zeros(10, dtype=int), False, 0.95, 10_000, 1))
    half = (
        stats.t.isf(0.025, 2) * outcomes[:, 0].std(ddof=1) / np.sqrt(3)
    )  # Student's interval of three means
    assert (high - low) / 2 == pytest.approx(half, rel=0.25)
    assert two_level_bootstrap(outcomes) == (0.0, 1.0)  # three very different seeds determine nothing


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(2, 7), (3, 1), (5, 96)])
def test_equal_outcomes_have_clopper_and_pearsons_interval(value, shape):
    exact = stats.binomtest(int(value * shape[1]), shape[1]).proportion_ci(method="exact")
    assert two_level_bootstrap(np.full(shape, value)) == pytest.approx((exact.low, exact.high), abs=1e-3)


def test_tasks_are_strata_unless_they_are_resampled():
    """Tasks that are always or never solved have no variance as strata, and a large variance if resampled."""
    outcomes = np.tile(np.repeat([0.0, 1.0, 0.0, 1.0], 6), (2, 1))
    tasks = np.repeat(["a", "b", "c", "d"], 6)
    doubt = 0.5 * stats.beta.ppf(0.975, 1, 24)  # one more state at a bound
    assert two_level_bootstrap(outcomes, tasks) == pytest.approx((0.5 - doubt, 0.5 + doubt), rel=1e-3)
    low, high = two_level_bootstrap(outcomes, tasks, new_tasks=True)
    assert high - low > 0.8


def test_the_interval_is_reproducible_and_ignores_the_order_of_tasks():
    outcomes, tasks = crossed(3, states=24), np.repeat(["a", "b"], 12)
    order = (
        np.arange(24).reshape(2, 12).T.ravel()
    )  # tasks alternate, and the states of a task keep their order
    assert two_level_bootstrap(outcomes, tasks) == pytest.approx(
        two_level_bootstrap(outcomes[:, order], tasks[order])
    )


@pytest.mark.parametrize(
    ("outcomes", "tasks", "message"),
    [
        (np.ones((1, 5)), None, "2 or more seeds"),
        (np.ones((2, 0)), None, "2 or more seeds"),
        (np.ones(5), None, "2 or more seeds"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), None, "missing"),
        (np.ones((2, 3)), ["a"], "tasks"),
    ],
)
def test_bad_outcomes_are_refused(outcomes, tasks, message):
    with pytest.raises(ValueError, match=message):
        two_level_bootstrap(outcomes, tasks)
