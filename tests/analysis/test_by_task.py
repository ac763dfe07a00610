"""Success by task: exact p values against full enumeration, and simulated false discoveries."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_rankings import cell

from vlm4vla.analysis.by_task import exchange_test, success_by_task
from vlm4vla.analysis.intervals import wilson
from vlm4vla.analysis.multiplicity import benjamini_hochberg
from vlm4vla.analysis.paired import sign_flip


def enumerated(outcomes):
    """p values by listing every choice of one policy's outcome at each state."""
    center = outcomes.mean(axis=0).sum()
    sums = np.array([sum(chosen) for chosen in itertools.product(*outcomes.T)])
    return [(np.abs(sums - center) >= abs(own - center) - 1e-9).mean() for own in outcomes.sum(axis=1)]


def in_task(outcomes, seed=0):
    """The records of one policy on one task."""
    return pd.DataFrame(
        {
            "benchmark": "bridge",
            "seed": seed,
            "episode": np.arange(len(outcomes)),
            "task": "spoon",
            "solved": outcomes,
            "success": np.asarray(outcomes) == 1,
        }
    )


@pytest.mark.parametrize("case", range(20))
def test_values_tests_and_correction_by_hand(case):
    cells = {name: cell(rate, luck=case) for name, rate in (("a", 0.2), ("b", 0.5), ("c", 0.9))}
    rows = success_by_task(cells)
    assert [(row["task"], row["model"]) for row in rows] == list(
        itertools.product(["t0", "t1", "t2", "t3"], "abc")
    )
    for row in rows:
        own = {
            name: frame[frame["task"] == row["task"]]["success"].to_numpy(int)
            for name, frame in cells.items()
        }
        wins = own[row["model"]].sum()
        assert (row["value"], row["ci_low"], row["ci_high"]) == (pytest.approx(wins / 6), *wilson(wins, 6))
        others = [values for name, values in own.items() if name != row["model"]]
        difference = own[row["model"]] - np.mean(others, axis=0)
        assert row["difference"] == pytest.approx(difference.mean())
        patterns = np.array(list(itertools.product([1, -1], repeat=6)))
        flipped = (np.abs(patterns @ difference) >= abs(difference.sum()) - 1e-9).mean()
        exchanged = enumerated(np.array(list(own.values())))[list(own).index(row["model"])]
        assert row["p_value"] == pytest.approx(max(flipped, exchanged))
    adjusted = stats.false_discovery_control([row["p_value"] for row in rows])
    assert [row["p_adjusted"] for row in rows] == pytest.approx(adjusted)


def test_several_seeds_missing_cells_and_a_single_policy():
    two = pd.concat([cell(0.5, seed=k) for k in (0, 1)])
    rows = success_by_task({"a": two, "b": cell(0.5), "none": cell(0.5).iloc[:0]})
    assert {row["model"] for row in rows} == {"a", "b"}
    assert {row["seeds"] for row in rows if row["model"] == "a"} == {2}
    alone = success_by_task({"a": cell(0.5)})
    assert all(row["p_value"] is None and row["p_adjusted"] is None for row in alone)
    assert success_by_task({}) == []


@pytest.mark.parametrize("case", range(12))
def test_exchange_agrees_with_enumeration_and_with_drawing(case):
    random = np.random.default_rng(case)
    policies, seeds = 2 + case % 4, 1 + case % 3
    outcomes = random.binomial(seeds, random.uniform(0.05, 0.95, size=6), size=(policies, 6))
    assert exchange_test(outcomes) == pytest.approx(enumerated(outcomes))
    drawn = random.permuted(np.broadcast_to(outcomes, (4000, policies, 6)), axis=1)[:, 0].sum(axis=1)
    center = outcomes.mean(axis=0).sum()
    share = (np.abs(drawn - center) >= abs(outcomes[0].sum() - center) - 1e-9).mean()
    assert exchange_test(outcomes)[0] == pytest.approx(share, abs=0.04)


def test_exchange_of_two_policies_is_the_paired_test():
    """With two policies, an exchange at a state flips the sign of the difference."""
    random = np.random.default_rng(3)
    for _ in range(20):
        two = random.integers(0, 2, size=(2, 30))
        assert exchange_test(two) == pytest.approx(2 * [sign_flip(two[0] - two[1])])


def test_exchange_without_differences_and_with_bad_outcomes():
    assert exchange_test(np.ones((4, 9))).tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="whole numbers from 0"):
        exchange_test(np.array([[0.5], [1]]))
    with pytest.raises(ValueError, match="pass"):
        exchange_test(np.zeros((0, 3)))


def grid_p_values(tasks):
    """p values of the grid for `tasks`, each with outcomes (policies, states)."""
    found = []
    for outcomes in tasks:
        names = [f"policy {index}" for index in range(len(outcomes))]
        rows = success_by_task({name: in_task(own) for name, own in zip(names, outcomes, strict=True)})
        found += [row["p_value"] for row in rows]
    return found


@pytest.mark.parametrize(
    ("policies", "states", "rates"),
    [(10, 24, (0.02, 0.3, 0.7, 0.98)), (3, 24, (0.05, 0.5, 0.9)), (10, 50, (0.01, 0.03, 0.97))],
)
def test_equal_policies_give_few_false_discoveries(policies, states, rates, capsys):
    random, runs, found, before = np.random.default_rng(0), 120, 0, 0
    for _ in range(runs):
        p, flipped = [], []
        for rate in rates:
            drawn = (random.random((policies, states)) < rate).astype(int)
            signs = [sign_flip(policies * own - drawn.sum(axis=0)) for own in drawn]
            p += np.maximum(signs, exchange_test(drawn)).tolist()
            flipped += signs
        found += min(benjamini_hochberg(p)) < 0.05
        before += min(benjamini_hochberg(flipped)) < 0.05
    with capsys.disabled():
        print(f"\n{policies} equal policies: a false discovery in {found} of {runs} studies", end="")
        print(f" ({before} with the sign-flip test alone)")
    assert found <= 0.05 * runs + 3


def test_equal_policies_at_the_floor_are_alike_in_the_rows():
    """One state is solved by some of ten policies: no policy differs from the others."""
    outcomes = np.zeros((10, 50), dtype=int)
    outcomes[np.arange(9), np.arange(9)] = 1
    assert min(grid_p_values([outcomes])) > 0.05
    assert sign_flip(10 * outcomes[9] - outcomes.sum(axis=0)) < 0.01  # what the exchange prevents


def test_other_states_are_not_another_success_rate():
    """A policy solves half of the states, as the others do, but not the same half."""
    random, runs, found, exchanged = np.random.default_rng(1), 100, 0, 0
    for _ in range(runs):
        rates = np.tile(random.choice([0.05, 0.95], size=24), (6, 1))
        rates[0] = random.choice([0.05, 0.95], size=24)
        drawn = (random.random(rates.shape) < rates).astype(int)
        exchanged += exchange_test(drawn)[0] < 0.05
        found += max(exchange_test(drawn)[0], sign_flip(6 * drawn[0] - drawn.sum(axis=0))) < 0.05
    assert found <= 0.05 * runs + 5 < exchanged


def test_a_task_that_one_policy_solves_is_found():
    random = np.random.default_rng(2)
    rates = np.full((10, 50), 0.3)
    rates[4] = 0.8
    easy, odd = ((random.random((10, 50)) < rate).astype(int) for rate in (0.5, rates))
    adjusted = benjamini_hochberg(grid_p_values([easy, odd]))
    assert int(np.argmin(adjusted)) == 14 and adjusted[14] < 0.001


def test_policies_enter_with_the_same_number_of_seeds():
    first = [in_task([1, 1, 0, 0]), in_task([1, 1, 1, 1], seed=1)]
    cells = {"two seeds": pd.concat(first), "one": in_task([0, 0, 0, 1])}
    rows = {row["model"]: row for row in success_by_task(cells)}
    assert rows["two seeds"]["difference"] == 0.25  # seed 0 alone, as the other policy
    assert rows["two seeds"]["value"] == 0.75
    other = success_by_task(cells | {"one": in_task([0, 0, 0, 1], seed=7)})
    assert [row["difference"] for row in other] == [0.25, -0.25]  # no seed in common: the first of each
