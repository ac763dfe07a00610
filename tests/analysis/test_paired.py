import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar

from vlm4vla.analysis.paired import compare, mcnemar, sign_flip, table_spread
from vlm4vla.analysis.power import episodes_needed, mcnemar_power
from vlm4vla.core.errors import UserError


def cell(outcomes, benchmark="bridge", seed=0, **changes):
    """Records of one run whose episode i solved outcomes[i] instructions."""
    solved = np.array(outcomes).astype(int)
    frame = pd.DataFrame({"episode": np.arange(len(solved)), "solved": solved})
    defaults = {
        "model": "m",
        "variant": "full",
        "auxiliary": "none",
        "benchmark": benchmark,
        "seed": seed,
        "task": "t",
    }
    whole = 5 if benchmark == "calvin" else 1
    return frame.assign(initial_state=frame["episode"], success=solved == whole, **defaults | changes)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (9, 2), (3, 14), (40, 20)])
def test_mcnemar_is_the_binomial_test_of_discordant_pairs(wins, losses):
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar(wins, losses) == pytest.approx(expected, abs=1e-12)


def test_sign_flip_counts_every_pattern():
    differences = np.array([3, -1, 0, 2, 5, -2, 1])
    patterns = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    expected = (np.abs(patterns @ differences) >= abs(differences.sum())).mean()
    assert sign_flip(differences) == pytest.approx(expected, abs=1e-12)


def test_sign_flip_is_scipys_permutation_test():
    first = np.random.default_rng(0).integers(0, 6, size=12)
    second = np.random.default_rng(1).integers(0, 4, size=12)
    expected = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip(first - second) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", range(20))
def test_random_mcnemar_is_statsmodels(case):
    random = np.random.default_rng(case)
    wins, losses = (int(k) for k in random.integers(0, 40, size=2))
    expected = exact_mcnemar([[10, wins], [losses, 10]], exact=True).pvalue if wins + losses else 1.0
    assert mcnemar(wins, losses) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", range(20))
def test_random_sign_flips_count_every_pattern(case):
    random = np.random.default_rng(case)
    differences = random.integers(-5, 6, size=random.integers(1, 13)) * random.integers(1, 4)
    patterns = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    expected = (np.abs(patterns @ differences) >= abs(differences.sum())).mean()
    assert sign_flip(differences) == pytest.approx(expected, abs=1e-12)
    assert sign_flip(-differences) == sign_flip(3 * differences) == sign_flip(differences)


def test_sign_flip_without_differences_and_with_ties():
    assert sign_flip(np.array([])) == sign_flip(np.zeros(8)) == 1.0
    assert sign_flip(np.array([2])) == 1.0


def test_effect_size_and_states_needed():
    first, second = cell([5, 3, 2, 4], "calvin"), cell([1, 3, 0, 2], "calvin")
    found = compare(first, second, "average_length")
    difference = np.array([4, 0, 2, 2])
    assert found.effect_size == pytest.approx(difference.mean() / difference.std(ddof=1))
    assert found.needed(0.05) == episodes_needed(difference, binary=False)
    assert found.needed(0.001) == episodes_needed(difference, binary=False, level=0.001)
    assert (found.seeds, compare(first, first, "average_length").effect_size) == (1, None)
    assert compare(first, first, "average_length").needed(0.05) is None
    assert compare(first, first, "average_length").p_value == 1.0


def test_shared_seeds_widen_the_interval():
    outcomes = [[1] * 9 + [0], [0] * 9 + [1]], [[0] * 10, [0] * 10]
    first, second = (pd.concat([cell(row, seed=k) for k, row in enumerate(side)]) for side in outcomes)
    found = compare(first, second, "success_rate")
    assert found.seeds == 2
    assert found.ci_low < 0 < found.ci_high  # one seed in each direction says nothing about other seeds
    one_seed = compare(cell(outcomes[0][0]), cell(outcomes[1][0]), "success_rate")
    assert found.ci_high - found.ci_low > one_seed.ci_high - one_seed.ci_low


def test_a_seed_with_missing_states_is_compared_on_the_others():
    first = pd.concat([cell([1, 1, 0, 1], seed=0), cell([1, 0], seed=1)])
    second = pd.concat([cell([0, 0, 0, 1], seed=0), cell([0, 0, 0, 0], seed=1)])
    found = compare(first, second, "success_rate")
    assert (found.states, found.difference) == (4, pytest.approx((1 + 0.5 + 0 + 0.5) / 4))


def test_sign_flip_needs_whole_numbers():
    with pytest.raises(ValueError, match="whole"):
        sign_flip(np.array([0.5, 1.0]))


def test_compare_pairs_by_episode_and_not_by_row():
    first = cell([1, 1, 0, 1, 0, 1, 1, 1])
    second = cell([0, 0, 0, 0, 1, 1, 0, 0])
    shuffled = second.sample(frac=1, random_state=0)
    found = compare(first, shuffled, "success_rate")
    assert (found.wins, found.losses, found.states, found.test) == (5, 1, 8, "McNemar")
    assert found.difference == pytest.approx(0.5)
    assert found.p_value == pytest.approx(stats.binomtest(5, 6).pvalue)
    assert found.ci_low < found.difference < found.ci_high


def test_compare_uses_shared_states_only():
    found = compare(cell([1, 1, 1, 1]), cell([0, 1]), "success_rate")
    assert (found.states, found.wins) == (2, 1)


def test_an_average_length_has_the_sign_flip_test():
    first, second = cell([5, 3, 2, 4], "calvin"), cell([1, 3, 0, 2], "calvin")
    found = compare(first, second, "average_length")
    assert found.test == "sign-flip"
    assert found.difference == pytest.approx(2.0)
    assert found.p_value == pytest.approx(sign_flip(np.array([4, 0, 2, 2])))


def test_several_seeds_on_one_state_count_as_one_state():
    first = pd.concat([cell([1, 1, 0, 1], seed=seed) for seed in (0, 1)])
    second = pd.concat([cell([0, 1, 0, 0], seed=seed) for seed in (0, 1)])
    found = compare(first, second, "success_rate")
    assert found.states == 4
    assert found.test == "seeds and states"
    assert found.states_p_value == pytest.approx(
        0.5
    )  # two states differ: two of four patterns are as extreme


def test_only_shared_seeds_are_compared():
    first = pd.concat([cell([1, 1], seed=0), cell([0, 0], seed=1)])
    found = compare(first, cell([0, 1], seed=0), "success_rate")
    assert found.difference == pytest.approx(0.5)


def test_a_policy_with_other_seeds_is_compared_with_the_floor():
    found = compare(cell([1, 1, 0], seed=3), cell([0, 1, 0], seed=0), "success_rate")
    assert found.difference == pytest.approx(1 / 3)


def test_other_initial_states_are_refused():
    other = cell([0, 1]).assign(initial_state=[0, 9])
    with pytest.raises(UserError, match="episode 1 has another initial_state"):
        compare(cell([1, 1]), other, "success_rate")


def test_nothing_to_compare():
    assert compare(cell([1]), cell([]), "success_rate") is None


@pytest.mark.parametrize("case", range(10))
def test_unequal_seeds_keep_the_weights_of_the_difference(case):
    """Each state counts alike, whatever its number of seeds: the p value is that over all sign patterns."""
    random = np.random.default_rng(case)
    first = pd.concat([cell(random.integers(0, 2, size=n).tolist(), seed=k) for k, n in enumerate((9, 6, 4))])
    second = pd.concat(
        [cell(random.integers(0, 2, size=n).tolist(), seed=k) for k, n in enumerate((9, 9, 5))]
    )
    found = compare(first, second, "success_rate")
    means = [side.groupby("episode")["solved"].mean().to_numpy() for side in (first, second)]
    difference = means[0] - means[1]
    patterns = np.array(list(itertools.product([1, -1], repeat=9)))
    expected = (np.abs(patterns @ difference) >= abs(difference.sum()) - 1e-9).mean()
    assert found.difference == pytest.approx(difference.mean())
    assert found.states_p_value == pytest.approx(expected)
    assert found.p_value >= found.states_p_value


def test_unequal_seeds_cannot_turn_the_tested_sign():
    """One state was won with one seed, and one was lost by less with three seeds."""
    first = pd.concat(
        [cell([1, 1], seed=0), cell([0], seed=1).assign(episode=1), cell([0], seed=2).assign(episode=1)]
    )
    first["initial_state"] = first["episode"]
    second = pd.concat(
        [cell([0, 1], seed=0), cell([1], seed=1).assign(episode=1), cell([1], seed=2).assign(episode=1)]
    )
    second["initial_state"] = second["episode"]
    found = compare(first, second, "success_rate")
    assert found.difference == pytest.approx((1 - 2 / 3) / 2)
    assert found.p_value == 1.0 and (found.wins, found.losses) == (1, 1)


def test_a_huge_sum_of_differences_has_random_patterns():
    """They agree with the normal approximation, which is accurate for 200 differences."""
    differences = np.random.default_rng(4).integers(-90_000, 100_000, size=200)
    assert np.abs(differences).sum() > 1_000_000  # so many are not counted exactly
    z = abs(differences.sum()) / np.sqrt((differences.astype(float) ** 2).sum())
    assert sign_flip(differences) == pytest.approx(2 * stats.norm.sf(z), abs=0.01)


@pytest.mark.parametrize(("wins", "losses", "equal"), [(18, 3, 79), (12, 2, 10), (30, 12, 54)])
def test_an_undecided_pair_needs_more_states_than_it_has(wins, losses, equal):
    outcomes = [1] * wins + [0] * (losses + equal), [0] * wins + [1] * losses + [0] * equal
    found = compare(*map(cell, outcomes), "success_rate")
    corrected = found.needed(0.05 / 45)
    assert corrected > max(found.states, found.needed(0.05, decided=True))
    assert mcnemar_power(wins / found.states, losses / found.states, corrected, 0.05 / 45) >= 0.8


def seeds_of(random, shift, seeds=3, states=60, spread=0.8, model="m"):
    """Records of one policy whose training seeds differ by `spread` logits."""
    hard = random.normal(size=states)
    runs = [
        cell(
            (random.uniform(size=states) < 1 / (1 + np.exp(-shift - hard - random.normal(0, spread)))).astype(
                int
            ),
            seed=k,
            model=model,
        )
        for k in range(seeds)
    ]
    return pd.concat(runs)


@pytest.mark.parametrize("case", range(12))
def test_the_interval_over_seeds_agrees_with_the_p_value(case):
    random = np.random.default_rng(case)
    sides = [seeds_of(random, shift, spread=0.1 + 0.1 * (case % 4)) for shift in (0.0, 0.2 * case)]
    found = compare(*sides, "success_rate", table_spread(sides, "success_rate"))
    assert found.p_value >= found.states_p_value
    assert (found.ci_low > 0 or found.ci_high < 0) == (found.p_value < 0.05)
    assert found.ci_low <= found.difference <= found.ci_high
    mirrored = compare(*sides[::-1], "success_rate", table_spread(sides, "success_rate"))
    assert mirrored.p_value == pytest.approx(found.p_value)
    assert (-mirrored.ci_high, -mirrored.ci_low) == pytest.approx((found.ci_low, found.ci_high), abs=0.01)


def test_a_difference_of_all_seeds_on_all_states_is_decided():
    first = pd.concat([cell([1] * 30, seed=seed) for seed in (0, 1)])
    second = pd.concat([cell([0] * 30, seed=seed) for seed in (0, 1)])
    found = compare(first, second, "success_rate")
    assert found.p_value == found.states_p_value == pytest.approx(2 * 0.5**30)
    assert (0 < found.ci_low < 1) and found.ci_high == 1.0


def test_policies_without_a_shared_seed_need_a_spread_to_count_their_seeds():
    random = np.random.default_rng(1)
    policy = seeds_of(random, 0.5)
    floor = cell(random.integers(0, 2, size=60), seed=9)
    alone = compare(policy, floor, "success_rate")
    assert alone.test == "sign-flip" and alone.p_value == alone.states_p_value
    wide = compare(policy, floor, "success_rate", table_spread([policy, floor], "success_rate"))
    assert wide.seeds == 0 and wide.test == "seeds and states"
    assert wide.p_value > alone.p_value and wide.ci_high - wide.ci_low > alone.ci_high - alone.ci_low
