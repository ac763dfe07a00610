import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from vlm4vla.analysis.unpaired import compare_rates, newcombe


def counts(case):
    random = np.random.default_rng(case)
    n, m = (int(k) for k in random.integers(5, 25, size=2))
    return (int(random.binomial(n, random.uniform())), int(random.binomial(m, random.uniform()))), (n, m)


@pytest.mark.parametrize("case", range(25))
def test_interval_is_statsmodels(case):
    wins, trials = counts(case)
    expected = confint_proportions_2indep(wins[0], trials[0], wins[1], trials[1], method="newcomb")
    assert newcombe(wins, trials) == pytest.approx(expected, abs=1e-9)


def brute_force(wins, trials, statistic):
    """Largest chance over the common rate of a table at least as extreme, for every table."""
    n, m = trials
    i, j = np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij")
    scores = statistic(i, j, n, m)
    extreme = scores >= scores[wins] - 1e-9
    rates = np.linspace(0.0001, 0.9999, 5000)
    chance = [
        (stats.binom.pmf(np.arange(n + 1), n, p)[:, None] * stats.binom.pmf(np.arange(m + 1), m, p))[
            extreme
        ].sum()
        for p in rates
    ]
    return max(chance)


def pooled(i, j, n, m):
    rate = (i + j) / (n + m)
    spread = np.sqrt(rate * (1 - rate) * (1 / n + 1 / m))
    return np.abs(np.divide(i / n - j / m, spread, out=np.zeros(i.shape), where=spread > 0))


@pytest.mark.parametrize("case", range(20))
def test_barnard_counts_every_table(case):
    random = np.random.default_rng(case)
    n, m = (int(k) for k in random.integers(4, 14, size=2))
    wins = int(random.integers(n + 1)), int(random.integers(m + 1))
    if sum(wins) in (0, n + m):
        wins = (1, 0)
    found = compare_rates(wins, (n, m), "Barnard")
    assert found.p_value == pytest.approx(brute_force(wins, (n, m), pooled), abs=1e-4)
    assert found.test == "Barnard"


@pytest.mark.parametrize("case", range(20))
def test_boschloo_is_scipys(case):
    wins, (n, m) = counts(case + 100)
    table = [[wins[0], wins[1]], [n - wins[0], m - wins[1]]]
    found = compare_rates(wins, (n, m))
    expected = 1.0 if sum(wins) in (0, n + m) else stats.boschloo_exact(table, n=32).pvalue
    assert found.p_value == pytest.approx(expected, abs=1e-3)
    assert found.difference == pytest.approx(wins[0] / n - wins[1] / m)
    assert found.ci_low <= found.difference <= found.ci_high


@pytest.mark.parametrize("case", range(20))
def test_barnard_is_scipys_or_counts_ties_that_it_drops(case):
    wins, (n, m) = counts(case + 200)
    table = [[wins[0], wins[1]], [n - wins[0], m - wins[1]]]
    if sum(wins) in (0, n + m):
        wins, table = (1, 0), [[1, 0], [n - 1, m]]
    found = compare_rates(wins, (n, m), "Barnard").p_value
    assert found >= stats.barnard_exact(table, pooled=True, n=32).pvalue - 1e-6
    assert found == pytest.approx(brute_force(wins, (n, m), pooled), abs=1e-4)


def test_the_papers_size_is_quick_and_near_the_normal_test():
    found = compare_rates((58, 43), (96, 96))
    z = (58 - 43) / 96 / np.sqrt(2 * (101 / 192) * (91 / 192) / 96)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(z), abs=0.006)
    assert compare_rates((580, 430), (1000, 1000)).p_value < 1e-10


@pytest.mark.parametrize("wins", [(0, 0), (24, 24)])
def test_nothing_tells_them_apart(wins):
    found = compare_rates(wins, (24, 24))
    assert (found.difference, found.p_value) == (0.0, 1.0)
    assert found.ci_low < 0 < found.ci_high


def test_one_trial_and_impossible_counts():
    assert compare_rates((1, 0), (1, 1)).p_value > 0.4
    with pytest.raises(ValueError, match="successes"):
        compare_rates((5, 0), (4, 4))
