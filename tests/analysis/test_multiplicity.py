import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vlm4vla.analysis.multiplicity import benjamini_hochberg, holm


def p_values(case):
    random = np.random.default_rng(case)
    p = random.uniform(size=random.integers(1, 30)) ** random.integers(1, 6)
    return np.where(random.uniform(size=p.size) < 0.2, p[0], p)  # with ties


@pytest.mark.parametrize("case", range(25))
def test_both_are_those_of_statsmodels_and_scipy(case):
    p = p_values(case)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_edges(adjust):
    assert adjust([]) == []
    assert adjust([0.03]) == [0.03]
    assert adjust([1.0, 1.0]) == [1.0, 1.0]
    assert adjust([0.0, 1.0])[0] == 0.0
    assert adjust([None, 0.01, None, 0.5]) == [None, 0.02, None, 0.5]  # a missing test is not counted
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjust([0.5, 1.2])
