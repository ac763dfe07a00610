"""Confidence sets of ranks: against tests by hand and statsmodels, and their simulated coverage."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from test_rankings import cell

from vlm4vla.analysis.rank_sets import rank_sets, shown_better
from vlm4vla.analysis.rankings import Grid, rank_models, rank_over_benchmarks


def test_sets_of_a_known_order():
    """0 is better than 1 and 2; 1 and 2 are not told apart; all are better than 3."""
    better = np.array([[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    low, high = rank_sets(better)
    assert low.tolist() == [1, 2, 2, 4] and high.tolist() == [1, 3, 3, 4]
    low, high = rank_sets(np.zeros((3, 3)))
    assert low.tolist() == [1, 1, 1] and high.tolist() == [3, 3, 3]


@pytest.mark.parametrize("case", range(10))
def test_pairs_are_mcnemar_tests_with_holms_correction(case):
    random = np.random.default_rng(case)
    rates = random.uniform(0.1, 0.9, size=(5, 1))
    outcomes = (random.random((5, 40)) < rates).astype(int)
    listed, p = list(itertools.combinations(range(5), 2)), []
    for i, j in listed:
        one, other = (outcomes[i] > outcomes[j]).sum(), (outcomes[i] < outcomes[j]).sum()
        p.append(mcnemar([[0, one], [other, 0]], exact=True).pvalue)
    expected = np.zeros((5, 5), dtype=bool)
    for (i, j), rejected in zip(listed, multipletests(p, 0.05, method="holm")[0], strict=True):
        if rejected:
            expected[(i, j) if outcomes[i].sum() > outcomes[j].sum() else (j, i)] = True
    assert np.array_equal(shown_better([outcomes])[0], expected)
    # Two benchmarks: the correction covers the pairs of both.
    both = shown_better([outcomes, outcomes])
    twice = multipletests(2 * p, 0.05, method="holm")[0]
    assert both[0].sum() == twice[: len(p)].sum() and both[1].sum() == twice[len(p) :].sum()


def test_chains_and_means_over_seeds_are_sign_flip_tests():
    random = np.random.default_rng(5)
    chains = random.binomial(5, [[0.2], [0.6]], size=(2, 12))
    signs = np.array(list(itertools.product([1, -1], repeat=12)))
    difference = chains[0] - chains[1]
    p = (np.abs(signs @ difference) >= abs(difference.sum())).mean()
    assert p < 0.05 and shown_better([chains])[0].tolist() == [[False, False], [True, False]]
    assert np.array_equal(shown_better([chains / 3])[0], shown_better([chains])[0])  # three seeds
    assert np.array_equal(shown_better([chains * 0.0137])[0], shown_better([chains])[0])


def test_two_policies_share_both_ranks_until_six_states_decide():
    """One way in all of n states: p = 2 / 2^n, which is below 5 % from six states on."""
    for count in range(1, 10):
        found = rank_models(np.stack([np.ones(count), np.zeros(count)]), resamples=20)
        p = stats.binomtest(count, count).pvalue
        assert [(each.ci_low, each.ci_high) for each in found] == (
            [(1, 1), (2, 2)] if p < 0.05 else [(1, 2), (1, 2)]
        )


def outcomes_of(random, logits, states, chain, seeds):
    """(policies, states): chain lengths or mean successes; policies find the same states hard."""
    hard = random.normal(0, 1, states)
    rate = 1 / (1 + np.exp(-logits[:, None] - hard))
    if chain:
        steps = random.random((5, *rate.shape)) < rate
        return np.cumprod(steps, axis=0).sum(axis=0)
    return random.binomial(seeds, rate) / seeds


KINDS = {
    "nearly equal": (np.r_[0.05, np.zeros(9)], 100, False, 1, 200),
    "a ladder": (np.linspace(1.2, -1.2, 10), 96, False, 1, 200),
    "near the floor": (np.linspace(-3, -5, 10), 96, False, 1, 200),
    "three seeds": (np.linspace(0.2, -0.2, 6), 48, False, 3, 60),
    "chains": (np.linspace(0.2, -0.2, 5), 60, True, 1, 60),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_ranks_are_in_the_sets(kind, capsys):
    logits, states, chain, seeds, runs = KINDS[kind]
    random, best, all_ranks, width = np.random.default_rng(2), 0, 0, []
    for _ in range(runs):
        low, high = rank_sets(shown_better([outcomes_of(random, logits, states, chain, seeds)])[0])
        # Policies with equal logits share their ranks.
        true_low = 1 + (logits[:, None] > logits).sum(axis=0)
        true_high = (logits[:, None] >= logits).sum(axis=0)
        best += low[0] > 1
        all_ranks += ((low > true_high) | (high < true_low)).any()
        width.append(np.mean(high - low + 1))
    with capsys.disabled():
        print(f"\n{kind}: the true best is not among the first in {best} of {runs} studies, ", end="")
        print(f"a true rank is outside in {all_ranks}; {np.mean(width):.1f} ranks in a set", end="")
    assert best <= all_ranks <= 0.05 * runs
    if kind == "a ladder":
        assert np.mean(width) < 7  # a set is not everything


def test_the_mean_rank_over_benchmarks_is_the_mean_of_the_sets():
    rates = (0.1, 0.5, 0.95)
    cells = {name: [cell(rate, name, count=48) for rate in rates] for name in ("bridge", "calvin")}
    grids = {name: Grid.from_cells(own, name) for name, own in cells.items()}
    better = {"bridge": np.zeros((3, 3)), "calvin": np.array([[0, 0, 0], [0, 0, 0], [1, 1, 0]])}
    found = rank_over_benchmarks(grids, resamples=10, better=better)
    assert [each.rank_ci for each in found] == [(1.5, 3.0), (1.5, 3.0), (1.0, 2.0)]


def test_a_tie_for_the_first_rank_is_split_by_both_rankings():
    twin = cell(0.6, count=48)
    cells = [twin, twin, cell(0.05, count=48)]
    grid = Grid.from_cells(cells, "bridge")
    over_all = rank_over_benchmarks({"bridge": grid}, resamples=200)
    on_one = rank_models(grid.values[:, 0], resamples=200)
    assert [each.best for each in over_all] == [each.best for each in on_one] == [0.5, 0.5, 0.0]
    assert [each.rank for each in over_all] == [each.place for each in on_one] == [1.5, 1.5, 3.0]
    assert [each.rank_ci for each in over_all] == [(each.ci_low, each.ci_high) for each in on_one]
    assert [each.rank_ci for each in over_all] == [(1, 2), (1, 2), (3, 3)]
