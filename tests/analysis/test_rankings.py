import numpy as np
import pandas as pd
import pytest

from vlm4vla.analysis.rankings import Grid, improvement_matrix, rank_over_benchmarks
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
def test_scores_are_the_tasks_means(case):
    cells = [cell(0.3, luck=case), pd.concat([cell(0.6, seed=k, luck=case) for k in (0, 1)])]
    grid = Grid.from_cells(cells, "bridge")
    expected = [frame.groupby("task")["success"].mean().to_numpy() for frame in cells]
    assert grid.scores() == pytest.approx(np.array(expected))
    chains = [cell(0.5, "calvin", luck=case), cell(0.8, "calvin", luck=case)]
    found = Grid.from_cells(chains, "calvin").scores()
    assert found[0] == pytest.approx([(chains[0]["solved"] >= k).mean() for k in range(1, 6)])
    assert found.mean(axis=1) == pytest.approx([frame["solved"].mean() / 5 for frame in chains])


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
