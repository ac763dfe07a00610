"""Ranks on one benchmark, compared with counts by hand."""

import numpy as np
import pandas as pd
import pytest
import synthetic_study as made

from vlm4vla.analysis.rankings import rank_models, ranks_on_benchmark


def test_a_model_that_always_wins_is_first_in_every_resample():
    found = rank_models(np.array([[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]))
    assert (found[0].place, found[0].ci_low, found[0].ci_high) == (1, 1, 3)  # four states decide nothing
    assert [rank.place for rank in found] == [1, 2, 3]
    assert found[0].best > 0.99


def test_equal_models_share_the_rank():
    found = rank_models(np.ones((4, 10)))
    assert {(rank.place, rank.ci_low, rank.ci_high, rank.best) for rank in found} == {(2.5, 1, 4, 0.25)}


def test_one_state_and_one_model():
    assert rank_models(np.array([[0.0]]))[0].best == 1
    with pytest.raises(ValueError, match="outcomes have the shape"):
        rank_models(np.empty((2, 0)))


@pytest.mark.parametrize("seed", range(20))
def test_shares_agree_with_drawing_episodes_one_by_one(seed):
    rng = np.random.default_rng(seed)
    outcomes = (rng.uniform(size=(4, 30)) < rng.uniform(0.3, 0.7, size=(4, 1))).astype(float)
    found = rank_models(outcomes)
    first = np.zeros(4)
    for _ in range(1500):
        means = outcomes[:, rng.integers(30, size=30)].sum(axis=1)
        first += (means == means.max()) / (means == means.max()).sum() / 1500
    for index, rank in enumerate(found):
        assert rank.best == pytest.approx(first[index], abs=0.05)
    assert sum(rank.best for rank in found) == pytest.approx(1)


def test_only_shared_states_are_used():
    whole = made.episodes("kosmos-2", "full", "bridge", 0.6)
    part = made.episodes("paligemma-1", "full", "bridge", 0.5).query("episode < 40")
    policies = [("paligemma-1", "full"), ("kosmos-2", "full"), ("absent", "full")]
    found = ranks_on_benchmark(pd.concat([whole, part]), policies, "bridge", "success_rate")
    assert list(found) == policies[:2]
    shared = whole.query("episode < 40")["success"].mean()
    better = shared > part["success"].mean()
    assert found["kosmos-2", "full"].place == (1 if better else 2)
    assert ranks_on_benchmark(whole, policies, "calvin", "average_length") == {}
