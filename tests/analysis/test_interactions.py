"""The difference of two differences, against direct computation."""

import numpy as np
import pandas as pd
import pytest
import synthetic_study as made
from scipy import stats

from vlm4vla.analysis.interactions import Effect, compare_effects
from vlm4vla.analysis.paired import compare


def cell(model, skill, seeds=(0,), benchmark="bridge", **changes):
    return pd.concat([made.episodes(model, "full", benchmark, skill, seed=seed, **changes) for seed in seeds])


def test_a_common_base_cancels():
    base, one, other = cell("base", 0.3), cell("one", 0.6), cell("other", 0.5)
    assert compare_effects(Effect(one, base), Effect(other, base), "success_rate") == compare(
        one, other, "success_rate"
    )


def test_four_cells_give_the_sign_flip_test_of_the_difference_by_state():
    cells = [cell(name, skill, count=12) for name, skill in zip("abcd", (0.8, 0.3, 0.4, 0.45), strict=True)]
    first, base, second, other = cells
    found = compare_effects(Effect(first, base), Effect(second, other), "success_rate")
    a, b, c, d = (each["success"].to_numpy().astype(int) for each in cells)
    whole = a - b - c + d
    assert found.difference == pytest.approx(whole.mean())
    exact = stats.permutation_test(
        (whole,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert found.p_value == pytest.approx(exact.pvalue)
    assert found.ci_low <= whole.mean() <= found.ci_high
    assert (found.wins, found.losses) == ((whole > 0).sum(), (whole < 0).sum())


def test_one_significant_and_one_other_effect_do_not_differ_by_that():
    base = np.arange(96) < 30

    def changed(model, wins):
        solved = base.copy()
        solved[30 : 30 + wins], solved[:6] = True, False
        frame = made.episodes(model, "full", "bridge", 0.5)
        return frame.assign(success=solved, solved=solved.astype(int))

    none = made.episodes("none", "full", "bridge", 0.5).assign(success=base, solved=base.astype(int))
    weak, strong = changed("weak", 14), changed("strong", 20)
    assert compare(strong, none, "success_rate").p_value < 0.05 < compare(weak, none, "success_rate").p_value
    between = compare_effects(Effect(strong, none), Effect(weak, none), "success_rate")
    # The two differ on six states, all in one direction.
    assert between.p_value == pytest.approx(2 / 2**6)
    assert between.difference == pytest.approx(6 / 96)


def test_several_seeds_are_never_more_certain_than_the_states():
    skills = {"a": 0.7, "b": 0.3, "c": 0.4, "d": 0.45}
    a, b, c, d = (cell(name, skill, (0, 1, 2)) for name, skill in skills.items())
    found = compare_effects(Effect(a, b), Effect(c, d), "success_rate")
    assert found.seeds == 3 and found.test == "seeds and states"
    assert found.p_value >= found.states_p_value
    assert (found.p_value < 0.05) == (found.ci_low > 0 or found.ci_high < 0)


def test_missing_cells_and_seeds():
    one, other = cell("a", 0.5), cell("b", 0.5, (1,))
    assert compare_effects(Effect(one, one.iloc[:0]), Effect(other, one), "success_rate") is None
    assert compare_effects(Effect(one, one), Effect(other, other), "success_rate") is None


@pytest.mark.parametrize("benchmark", ["calvin", "bridge"])
def test_equal_effects_are_told_apart_in_at_most_five_per_cent(benchmark):
    """Both effects are large and alike: 60 studies, at most 7 (the 99 % limit of 5 %) with p < 0.05."""
    metric = "average_length" if benchmark == "calvin" else "success_rate"
    found = 0
    for study in range(60):
        a, b, c, d = (
            cell(name, skill, benchmark=benchmark, noise=study, count=48)
            for name, skill in zip("abcd", (0.6, 0.4, 0.6, 0.4), strict=True)
        )
        found += compare_effects(Effect(a, b), Effect(c, d), metric).p_value < 0.05
    assert found <= 7
