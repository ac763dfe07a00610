"""Rows that are not tested, and the marks of the others."""

import numpy as np
import pandas as pd
import pytest

from vlm4vla.report.rows.contrasts import (
    add_auxiliary_contrasts,
    add_contrasts,
    adjustment_sentence,
    printed_adjusted,
    printed_difference,
    printed_test,
    significant,
)
from vlm4vla.report.rows.decisions import AT_FLOOR, EQUIVALENT, HIGHER, LOWER, NOT_LEARNT, UNDECIDED

MARGIN = 0.05


def cell(model, variant, solved, count, auxiliary="none", seed=0):
    """`count` episodes on Bridge, of which the first `solved` succeed."""
    episode = np.arange(count)
    success = episode < solved
    frame = pd.DataFrame({"episode": episode, "initial_state": episode, "success": success})
    keys = {"model": model, "variant": variant, "auxiliary": auxiliary, "benchmark": "bridge", "seed": seed}
    return frame.assign(solved=success.astype(int), task="t", **keys)


def rows_of(records):
    """One row of the score for each trained cell."""
    keys = ["model", "variant", "auxiliary", "benchmark"]
    cells = records[records["model"] != "random"].drop_duplicates(keys)[keys]
    return [{**row, "metric": "success_rate"} for row in cells.to_dict("records")]


def frozen(solved, count=200, floor=0):
    """Rows of policies with all trained and with a frozen module. `solved`: the successes of each."""
    cells = [cell("random", "full", floor, count)] if floor is not None else []
    for model, (full, other) in solved.items():
        cells += [cell(model, "full", full, count), cell(model, "freeze-vision", other, count)]
    records = pd.concat(cells, ignore_index=True)
    rows = rows_of(records)
    add_contrasts(rows, records, "full", MARGIN)
    return {row["model"]: row for row in rows if row["variant"] != "full"}


def test_rows_at_the_floor_leave_holms_family():
    solved = {"a": (120, 106), "b": (0, 0), "c": (2, 0)}
    rows = frozen(solved)
    assert [rows[name]["outcome"] for name in "abc"] == [LOWER, AT_FLOOR, AT_FLOOR]
    assert rows["a"]["p_adjusted"] == rows["a"]["p_value"]  # the only test
    for name in "bc":
        assert rows[name]["p_value"] is None and rows[name].get("p_adjusted") is None
        assert printed_test(rows[name]) == "not tested: at the floor"
        assert printed_adjusted(rows[name]) == "\N{EN DASH}" != printed_difference(rows[name])
        assert not significant(rows[name], -1)
    said = adjustment_sentence(list(rows.values()), MARGIN)
    assert "after Holm's correction for the table's 1 test." in said
    assert "2 rows are not tested, because the two policies together" in said


def test_one_policy_above_the_floor_is_enough():
    assert frozen({"a": (40, 0)})["a"]["outcome"] == LOWER
    assert frozen({"a": (0, 40)})["a"]["outcome"] == HIGHER
    assert frozen({"a": (60, 50)}, floor=58)["a"]["outcome"] == AT_FLOOR


def test_without_random_actions_every_row_is_tested():
    rows = frozen({"a": (120, 106), "b": (0, 0)}, floor=None)
    assert rows["a"]["p_adjusted"] == 2 * rows["a"]["p_value"]
    assert rows["b"]["outcome"] == EQUIVALENT and printed_adjusted(rows["b"]).endswith(" =")


def test_few_states_decide_nothing():
    row = frozen({"a": (12, 11)}, count=24)["a"]
    assert row["outcome"] == UNDECIDED and "(n " in printed_adjusted(row)


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_rows_of_unlearnt_tasks_leave_holms_family(seeds):
    cells = [cell("random", "full", 0, 200)]
    for seed in seeds:
        cells.append(cell("a", "full", 100, 200, seed=seed))
        cells += [cell("a", "full", 140, 200, task, seed) for task in ("one", "two")]
    records = pd.concat(cells, ignore_index=True)
    rows = rows_of(records)
    add_auxiliary_contrasts(rows, records, MARGIN, {("a", "two"): NOT_LEARNT})
    one, two = (next(row for row in rows if row["auxiliary"] == task) for task in ("one", "two"))
    assert one["outcome"] == HIGHER and one["p_adjusted"] == one["p_value"]
    assert two["outcome"] == NOT_LEARNT and printed_test(two) == "not tested: task not learnt"
    assert two["difference"] == one["difference"]
