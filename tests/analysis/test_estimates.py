import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.intervals import bounded_mean, wilson
from vlm4vla.analysis.seed_spread import mean_interval
from vlm4vla.conventions.benchmarks import BENCHMARKS, metrics, score_metric


def run(solved, seed=0, whole=5):
    solved = np.array(solved)
    return pd.DataFrame(
        {
            "benchmark": "calvin" if whole == 5 else "bridge",
            "seed": seed,
            "episode": np.arange(len(solved)),
            "task": "t",
            "solved": solved,
            "success": solved == whole,
        }
    )


def test_average_length_and_success_in_a_row():
    records = run([5, 3, 0, 1, 5, 2])
    found = {metric: estimate(records, metric) for metric in metrics("calvin")}
    assert found["average_length"].value == pytest.approx(16 / 6)
    assert [found[f"success_at_{k}"].value * 6 for k in range(1, 6)] == pytest.approx([5, 4, 3, 2, 2])
    # The average length is the sum of the rates, because each solved instruction counts once.
    assert sum(found[f"success_at_{k}"].value for k in range(1, 6)) == pytest.approx(16 / 6)
    length = found["average_length"]
    assert (length.ci_low, length.ci_high) == bounded_mean(records["solved"].to_numpy(), (0, 5))


def test_a_success_rate_has_wilsons_interval():
    found = estimate(run([1, 0, 1, 1], whole=1), "success_rate")
    assert (found.ci_low, found.ci_high) == wilson(3, 4)
    assert (found.episodes, found.seeds, found.seed_sd) == (4, 1, None)


def test_seeds_do_not_add_initial_states():
    records = pd.concat([run([1, 0, 1, 1], 0, 1), run([1, 0, 0, 0], 1, 1)])
    found = estimate(records, "success_rate")
    assert (found.value, found.episodes, found.seeds) == (0.5, 4, 2)
    assert found.interval == "seeds and states"
    outcomes = np.array([[1, 0, 1, 1], [1, 0, 0, 0]])
    assert (found.ci_low, found.ci_high) == mean_interval(outcomes, np.zeros(4, dtype=int))
    assert found.seed_sd == pytest.approx(np.std([0.75, 0.25], ddof=1))


def test_a_missing_state_gets_the_mean_of_the_other_seeds():
    whole = pd.concat([run([1, 0, 1, 1], 0, 1), run([1, 0, 0, 0], 1, 1)])
    partial = whole[~((whole["seed"] == 1) & (whole["episode"] == 3))]
    found = estimate(partial, "success_rate")
    assert (found.value, found.episodes, found.seeds) == (pytest.approx(2.5 / 4), 4, 2)
    assert found.ci_low <= found.value <= found.ci_high


def test_tasks_of_several_seeds_are_strata_and_there_is_a_wider_interval():
    records = pd.concat([run([1] * 8 + [0] * 8, seed, 1) for seed in (0, 1)])
    records["task"] = np.where(records["episode"] < 8, "easy", "hard")
    found = estimate(records, "success_rate")
    doubt = 0.5 * stats.beta.ppf(0.975, 1, 16)  # one more state at a bound
    assert (found.ci_low, found.ci_high) == pytest.approx((0.5 - doubt, 0.5 + doubt), rel=1e-3)
    assert found.new_tasks_ci[0] < 0.1 and found.new_tasks_ci[1] > 0.9
    assert estimate(records.assign(task="t"), "success_rate").new_tasks_ci is None


def test_chains_of_several_seeds_are_one_stratum():
    records = pd.concat([run([5, 3, 0, 1, 5, 2], seed) for seed in (0, 1)])
    records["task"] = records["episode"].map("chain {}".format)
    found = estimate(records, "average_length")
    assert found.ci_high - found.ci_low > 1 and found.new_tasks_ci is None


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("solved", [0, 5])
def test_chains_at_an_end_have_the_limits_of_no_success(seeds, solved):
    """All chains fail, or all are complete. The limit is Clopper's for 0 of n, times five instructions."""
    found = estimate(pd.concat([run([solved] * 60, seed) for seed in range(seeds)]), "average_length")
    doubt = 5 * stats.beta.ppf(0.975, 1, 60)
    expected = (0, doubt) if solved == 0 else (5 - doubt, 5)
    assert (found.ci_low, found.ci_high) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("rate", [0, 1])
def test_several_seeds_without_a_failure_or_a_success_leave_doubt(seeds, rate):
    records = pd.concat([run([rate] * 96, seed, 1) for seed in range(seeds)])
    records["task"] = records["episode"] // 24
    found = estimate(records, "success_rate")
    clopper = stats.binomtest(96 * rate, 96).proportion_ci(method="exact")
    assert (found.ci_low, found.ci_high) == pytest.approx((clopper.low, clopper.high), abs=1e-4)
    # Of four tasks, none or all are solved: Clopper's limits for 0 or 4 of 4 are about other tasks.
    tasks = stats.binomtest(4 * rate, 4).proportion_ci(method="exact")
    assert found.new_tasks_ci == pytest.approx((tasks.low, tasks.high), abs=1e-3)


def test_without_records_there_is_no_estimate():
    assert estimate(run([]), "success_rate") is None


def test_each_benchmark_has_one_score():
    assert [score_metric(name) for name in BENCHMARKS] == ["average_length", "success_rate", "success_rate"]
