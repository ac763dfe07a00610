"""Two effects of a table are compared in one test, and said to differ only if one of them is decided."""

import numpy as np
import pytest
import synthetic_study as made

from vlm4vla.analysis.interactions import Effect
from vlm4vla.report.rows.interactions import Pair, interaction_records


def policy(name, solved):
    frame = made.episodes(name, "full", "bridge", 0.5)
    return frame.assign(success=solved, solved=solved.astype(int))


def row(model, outcome):
    return {
        "model": model,
        "variant": "full",
        "benchmark": "bridge",
        "auxiliary": "none",
        "metric": "success_rate",
        "difference": 0.1,
        "outcome": outcome,
    }


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("higher", "undecided"), "higher"),
        (("undecided", "undecided"), "undecided"),
        (("at the floor",) * 2, None),
    ],
)
def test_one_of_the_effects_must_be_decided(outcomes, expected):
    states = np.arange(96)
    base, one, other = (policy(name, states < n) for name, n in (("a", 40), ("b", 50), ("c", 30)))
    effects = Effect(one, base), Effect(other, base)
    pair = Pair(row("b", outcomes[0]), effects[0], row("c", outcomes[1]), effects[1])
    found = interaction_records([pair, pair], 0.05)
    assert [each["outcome"] for each in found] == ([expected] * 2 if expected else [])
    for each in found:
        assert (each["wins"], each["losses"], each["difference"]) == (20, 0, pytest.approx(20 / 96))
        assert each["p_adjusted"] == pytest.approx(2 * each["p_value"]) == pytest.approx(2 * 2 / 2**20)
