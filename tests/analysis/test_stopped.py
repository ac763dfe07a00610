"""Records of rollouts that could stop early: reading them, valid tests and valid intervals."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import synthetic_study as made
from scipy import stats

from vlm4vla.analysis.by_task import success_by_task
from vlm4vla.analysis.estimates import estimate
from vlm4vla.analysis.hinges import Outcomes
from vlm4vla.analysis.paired import SEQUENTIAL, compare
from vlm4vla.analysis.records import cell_records, read_episodes
from vlm4vla.analysis.stopped import (
    can_stop,
    common_states,
    early_ends,
    interval_level,
    sequential_p_value,
    with_stop,
)
from vlm4vla.conventions.episodes import STOP, Stop
from vlm4vla.core.errors import UserError


def ended(episodes, count=96, decision="higher", block=10, **changes):
    order = tuple(np.random.default_rng(3).permutation(count).tolist())
    reason = "decided" if episodes < count else "all states"
    after = episodes if decision != "undecided" else None
    fields = {"model": "kosmos-2", "auxiliary": "none", "variant": "full", "seed": 0, "alpha": 0.05}
    fields |= {"block": block, "order": order, "episodes": episodes, "decision": decision, "reason": reason}
    return Stop(**fields | {"decided_after": after} | changes)


def records(stop, model="paligemma-1", skill=0.9, seed=0, benchmark="bridge"):
    frame = made.episodes(model, "full", benchmark, skill, seed=seed)
    return frame if stop is None else frame[frame["episode"].isin(stop.numbers)].reset_index(drop=True)


def cell(*stops, **options):
    parts = [records(stop, seed=seed, **options) for seed, stop in enumerate(stops)]
    return pd.concat([with_stop(*pair) for pair in zip(parts, stops, strict=True)], ignore_index=True)


def write(path, frame, stop):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {} if stop is None else {STOP: stop.to_json()}
    path.parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_a_stopped_rollout_is_complete_with_the_episodes_before_its_stop(tmp_path):
    stop = ended(20)
    own = write(tmp_path / "own.parquet", records(stop), stop)
    full = write(tmp_path / "full.parquet", records(None, "kosmos-2", 0.4), None)
    both = read_episodes([own, full])
    assert sorted(both["episode"][both["model"] == "paligemma-1"]) == stop.numbers
    assert can_stop(cell_records(both, "paligemma-1", "full", "bridge"))
    assert not can_stop(cell_records(both, "kosmos-2", "full", "bridge"))
    [end] = early_ends(both)
    assert (end.model, end.episodes, end.planned, end.against) == (
        "paligemma-1",
        20,
        96,
        "kosmos-2/none/full",
    )
    assert read_episodes([own])["turn"].max() == 19
    assert "turn" not in read_episodes([full])


def test_incomplete_records_are_refused(tmp_path):
    stop = ended(20)
    lacking = write(tmp_path / "own.parquet", records(stop).iloc[1:], stop)
    with pytest.raises(
        UserError, match=r"own\.parquet: the episodes are not the first 20 of the rollout's order"
    ):
        read_episodes([lacking])
    endless = write(tmp_path / "own.parquet", records(stop), ended(20, reason=""))
    with pytest.raises(UserError, match="20 of 96 episodes, and no reason to stop"):
        read_episodes([endless])
    own = write(tmp_path / "own.parquet", records(stop), stop)
    part = records(None, "kosmos-2", 0.4).query("episode < 50")
    with pytest.raises(UserError, match="has 50 of 96 episodes of bridge"):
        read_episodes([own, write(tmp_path / "part.parquet", part, None)])


def test_the_p_value_is_sequential_and_never_the_one_of_a_fixed_number():
    stop = ended(20)
    own, full = cell(stop), records(None, "kosmos-2", 0.3)
    found = compare(own, full, "success_rate")
    assert (found.test, found.states) == (SEQUENTIAL, 20)
    wins, losses = found.wins, found.losses
    fixed = stats.binomtest(wins, wins + losses).pvalue
    # The exact probability to have decided by now, or to be as far out now, is larger than the fixed one.
    assert fixed < found.p_value <= 0.05
    assert found.needed(0.05) is None
    turned = compare(full, own, "success_rate")
    assert (turned.p_value, turned.difference) == (found.p_value, -found.difference)


def test_a_rollout_that_could_stop_but_did_not_is_tested_sequentially():
    found = compare(
        cell(ended(96, decision="undecided"), skill=0.5), records(None, "kosmos-2", 0.45), "success_rate"
    )
    assert (found.test, found.states) == (SEQUENTIAL, 96)


def test_p_values_of_equal_policies_hold_at_any_stopping_time():
    random = np.random.default_rng(0)
    order, count, small = tuple(range(48)), 150, 0
    frame = records(None).iloc[:48]
    for _ in range(count):
        outcomes = random.integers(0, 2, size=(2, 48))
        # The worst rule: stop at the block whose difference is largest.
        sums = np.abs(np.cumsum(outcomes[0] - outcomes[1]))[7::8]
        episodes = 8 * (1 + int(np.argmax(sums / np.sqrt(np.arange(8, 49, 8)))))
        stop = ended(episodes, 48, block=8, order=order)
        own, other = (pd.Series(side[:episodes]) for side in outcomes)
        side = with_stop(frame[:episodes], stop)
        small += sequential_p_value(own, other, 1, side) <= 0.05
    assert stats.binomtest(small, count, 0.05, alternative="greater").pvalue > 0.01


def test_the_chain_length_counts_in_the_test():
    own = cell(ended(40, block=20), benchmark="calvin", skill=0.8)
    found = compare(own, records(None, "kosmos-2", 0.5, benchmark="calvin"), "average_length")
    assert found.test == SEQUENTIAL and found.states == 40 and found.p_value <= 0.05


def test_only_states_of_all_seeds_count():
    own = cell(ended(20), ended(50))
    assert set(common_states(own)["episode"]) == set(ended(20).numbers)
    found = estimate(own, "success_rate")
    first = own[own["episode"].isin(ended(20).numbers)]
    assert found.episodes == 20 and found.value == pytest.approx(first["success"].mean())
    full = pd.concat([records(None, "kosmos-2", 0.3, seed=seed) for seed in (0, 1)])
    assert compare(own, full, "success_rate").states == 20


def test_intervals_allow_for_every_look():
    assert interval_level(records(None)) == 0.95
    assert interval_level(records(None), cell(ended(20))) == pytest.approx(1 - 0.05 / 10)
    assert interval_level(cell(ended(96, block=96))) == pytest.approx(0.95)
    stopped = estimate(cell(ended(20), skill=0.5), "success_rate")
    fixed = estimate(records(ended(20), skill=0.5), "success_rate")
    assert stopped.value == fixed.value
    assert stopped.ci_low < fixed.ci_low and stopped.ci_high > fixed.ci_high
    # Wilson's interval at the level 99.5 %
    n, z = 20, stats.norm.ppf(1 - 0.05 / 10 / 2)
    middle = (stopped.value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(stopped.value * (1 - stopped.value) / n + z**2 / (4 * n**2))
    assert stopped.ci_low == pytest.approx(middle - half)


def test_tests_for_a_fixed_number_of_states_leave_such_policies_out():
    cells = {
        "own": cell(ended(40)),
        "one": records(None, "kosmos-2"),
        "two": records(None, "paligemma-2", 0.3),
    }
    rows = success_by_task(cells)
    assert all((row["p_value"] is None) == (row["model"] == "own") for row in rows)
    without = success_by_task({name: cells[name] for name in ("one", "two")})
    kept = [row["p_value"] for row in rows if row["model"] != "own"]
    assert kept == [row["p_value"] for row in without]
    own, one, two = (Outcomes.of(records, "success_rate") for records in cells.values())
    assert own.minus(one)[0].size == one.minus(own)[0].size == 0 < one.minus(two)[0].size
