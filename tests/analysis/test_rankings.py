import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vlm4vla.analysis.rankings import (
    THRESHOLDS,
    Grid,
    improvement_matrix,
    rank_models,
    rank_over_benchmarks,
)
from vlm4vla.analysis.rliable import probability_of_improvement


def cell(rate, benchmark="bridge", seed=0, count=24, luck=0):
    random = np.random.default_rng([luck, seed, int(100 * rate)])
    whole = 5 if benchmark == "calvin" else 1
    solved = random.binomial(whole, rate, size=count)
    return pd.DataFrame(
        {
            "benchmark": benchmark,
            "seed": seed,
            "episode": np.arange(count),
            "task": [f"t{i % 4}" for i in range(count)],
            "solved": solved,
            "success": solved == whole,
        }
    )


@pytest.mark.parametrize("case", range(20))
def test_scores_are_those_of_every_run_on_every_task(case):
    cells = [cell(0.3, luck=case), pd.concat([cell(0.6, seed=k, luck=case) for k in (0, 1)])]
    found = Grid.from_cells(cells, "bridge").scores()[0]
    expected = [frame.groupby(["seed", "task"])["success"].mean().unstack().to_numpy() for frame in cells]
    assert found[0, 0] == pytest.approx(expected[0][0]) and np.isnan(found[0, 1]).all()
    assert found[1] == pytest.approx(expected[1])
    # The instructions of a chain are not tasks of their own.
    chains = [cell(0.5, "calvin", luck=case), cell(0.8, "calvin", luck=case)]
    found = Grid.from_cells(chains, "calvin").scores()
    assert found.shape == (1, 2, 1, 1)
    assert found.ravel() == pytest.approx([frame["solved"].mean() / 5 for frame in chains])


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_the_interquartile_mean_is_over_runs_and_tasks(seeds):
    """One policy has `seeds` training seeds, the other one has one. CALVIN counts as one of five tasks."""
    rates = {"bridge": (0.2, 0.7), "calvin": (0.4, 0.6)}
    cells = {
        name: [cell(first, name, count=40), pd.concat([cell(other, name, seed=k) for k in range(seeds)])]
        for name, (first, other) in rates.items()
    }
    found = rank_over_benchmarks({name: Grid.from_cells(own, name) for name, own in cells.items()}, 20)
    for policy, runs in enumerate((1, seeds)):
        bridge, calvin = (frame[policy].query("episode < 24") for frame in cells.values())
        matrix = np.empty((runs, 5))  # runs x tasks, as rliable's aggregate_iqm takes it
        matrix[:, :4] = bridge.groupby(["seed", "task"])["success"].mean().unstack()
        matrix[:, 4] = calvin.groupby("seed")["solved"].mean() / 5
        assert found[policy].iqm == pytest.approx(stats.trim_mean(matrix, 0.25, axis=None))
        kept = np.sort(matrix.ravel())[5 * runs // 4 : 5 * runs - 5 * runs // 4]
        assert found[policy].iqm == pytest.approx(kept.mean())
        expected = [(matrix > limit).mean() for limit in THRESHOLDS]
        assert found[policy].profile == pytest.approx(expected)


def test_seeds_are_resampled_by_both_rankings():
    """Two policies share the states. One of three runs of the first one fails everywhere."""
    good, flat = cell(0.9, count=40), cell(0.9, count=40)
    failed = good.assign(seed=2, solved=0, success=False)
    cells = [pd.concat([good, good.assign(seed=1), failed]), flat.assign(solved=flat.index % 2)]
    cells[1]["success"] = cells[1]["solved"] == 1
    grid = Grid.from_cells(cells, "bridge")
    over_all, on_one = rank_over_benchmarks({"bridge": grid}), rank_models(grid.values, task=grid.task_index)
    # In 7 of 27 resamples, the failed run is drawn at least twice of three times.
    for found in (over_all, on_one):
        assert found[1].best == pytest.approx(7 / 27, abs=0.04)
    low, high = over_all[0].iqm_ci
    assert low == 0 and high > 0.8


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_intervals_of_equal_outcomes_have_a_width(rate):
    """Twelve tasks of eight states, all failed or all solved, by two policies."""
    frame = cell(rate, count=96).assign(task=[f"t{i % 12}" for i in range(96)])
    found = rank_over_benchmarks({"bridge": Grid.from_cells([frame, frame], "bridge")})[0]
    exact = stats.binomtest(int(96 * rate), 96).proportion_ci()  # of the mean over all tasks
    low, high = found.iqm_ci
    assert low <= exact.low and high >= exact.high and high - low < 0.1
    assert found.improvement == 0.5
    assert found.improvement_ci[0] < 0.5 < found.improvement_ci[1]
    if rate == 0:
        assert found.profile[0] == 0 and found.profile_high[0] == 1 and found.profile_high[-1] == 0
    else:
        assert found.profile[-1] == 1 and found.profile_low[-1] < 1 and found.profile_low[0] == 1


@pytest.mark.parametrize("case", range(20))
def test_improvement_counts_all_pairs_of_episodes(case):
    cells = [cell(rate, luck=case) for rate in (0.3, 0.5, 0.7)]
    grids = {"bridge": Grid.from_cells(cells, "bridge")}
    runs = [frame["success"].astype(int).to_numpy() for frame in cells]
    matrix = improvement_matrix(grids)
    for i in range(3):
        for j in range(3):
            assert matrix[i, j] == pytest.approx(probability_of_improvement([runs[i]], [runs[j]]))
    found = rank_over_benchmarks(grids, resamples=20)
    for i in range(3):
        assert found[i].improvement == pytest.approx((matrix[i].sum() - matrix[i, i]) / 2)


def test_the_better_policy_ranks_first():
    rates = (0.1, 0.5, 0.95)
    grids = {
        name: Grid.from_cells([cell(rate, name, count=96) for rate in rates], name)
        for name in ("bridge", "calvin")
    }
    found = rank_over_benchmarks(grids, resamples=300)
    assert [each.rank for each in found] == [3.0, 2.0, 1.0]
    assert found[2].best == 1.0 and found[2].rank_ci == (1.0, 1.0)
    for each in found:
        assert each.iqm_ci[0] <= each.iqm <= each.iqm_ci[1]
        assert all(a >= b for a, b in zip(each.profile, each.profile[1:], strict=False))


def test_equal_policies_share_their_rank():
    grids = {"bridge": Grid.from_cells([cell(0.5), cell(0.5)], "bridge")}
    found = rank_over_benchmarks(grids, resamples=50)
    assert [each.rank for each in found] == [1.5, 1.5]
    assert [each.best for each in found] == [0.5, 0.5]  # as in the ranks on one benchmark
    assert {each.rank_ci for each in found} == {(1.0, 2.0)}
    assert found[0].improvement == 0.5


def test_the_interval_reflects_the_number_of_states():
    found = rank_over_benchmarks(
        {"bridge": Grid.from_cells([cell(0.5, count=96)], "bridge")}, resamples=2000
    )[0]
    assert (found.improvement, found.rank) == (None, 1.0)
    assert 0.1 < found.iqm_ci[1] - found.iqm_ci[0] < 0.35


def test_missing_states_and_no_shared_states():
    short = cell(0.5).iloc[:20]
    assert Grid.from_cells([cell(0.4), short], "bridge").values.shape == (2, 1, 20)
    far = cell(0.5).assign(episode=lambda frame: frame["episode"] + 100)
    assert Grid.from_cells([cell(0.4), far], "bridge") is None
    assert Grid.from_cells([], "bridge") is None
    assert rank_over_benchmarks({}) == []
