import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_rankings import cell

from vlm4vla.analysis.by_task import success_by_task
from vlm4vla.analysis.intervals import wilson


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
        expected = (np.abs(patterns @ difference) >= abs(difference.sum()) - 1e-9).mean()
        assert row["p_value"] == pytest.approx(expected)
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
