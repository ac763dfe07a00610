"""Pairs of backbones, the ranking over all benchmarks and success by task in the main table."""

import json

import pandas as pd
import pytest
import synthetic_study as made
from statsmodels.stats.multitest import multipletests

from vlm4vla.analysis.paired import compare
from vlm4vla.analysis.rankings import ranks_on_benchmark
from vlm4vla.report.rows import pairs

POLICIES = [("qwen2.5-vl-3b", "full"), ("kosmos-2", "full"), ("paligemma-1", "full")]
SKILL = {"qwen2.5-vl-3b": 0.3, "kosmos-2": 0.62, "paligemma-1": 0.65}


def records(benchmarks=("bridge",), seeds=(0,), skill=SKILL):
    return pd.concat(
        [
            made.episodes(model, "full", benchmark, skill[model], seed=seed)
            for model in skill
            for benchmark in benchmarks
            for seed in seeds
        ]
    )


def test_pairs_are_adjusted_together():
    frame = records()
    tests = pairs.pair_tests(frame, POLICIES, "bridge")
    assert [(test["first"], test["second"]) for test in tests] == [
        ("qwen2.5-vl-3b", "kosmos-2"),
        ("qwen2.5-vl-3b", "paligemma-1"),
        ("kosmos-2", "paligemma-1"),
    ]
    one, other = (frame[frame["model"] == name] for name in ("kosmos-2", "paligemma-1"))
    assert tests[2]["p_value"] == compare(one, other, "success_rate").p_value
    expected = multipletests([test["p_value"] for test in tests], method="holm")[1]
    assert [test["p_adjusted"] for test in tests] == pytest.approx(expected)
    assert [test["decided"] for test in tests] == [True, True, False]
    sentence = pairs.pair_sentence(tests, "bridge", "embedded")
    assert "Bridge (embedded): 2 of 3 pairs of backbones differ in these trained policies at" in sentence


def test_all_pairs_of_a_table_are_one_family():
    tests = pairs.table_pairs(records(("bridge", "calvin")), POLICIES, ["bridge", "calvin"])
    every = [*tests["bridge"], *tests["calvin"]]
    expected = multipletests([test["p_value"] for test in every], method="holm")[1]
    assert [test["p_adjusted"] for test in every] == pytest.approx(expected)
    assert len(every) == 6


def test_grid_shows_who_is_better_and_what_is_needed():
    tests = pairs.pair_tests(records(), POLICIES, "bridge")
    block = pairs.pair_block(tests, POLICIES, ["Qwen", "Kosmos", "Pali"], "pairs")
    needed = str(tests[2]["needed"])
    assert block.header == ["pairs", "1", "2", "3"]
    assert block.rows == [
        ["1 Qwen", "", "-", "-"],
        ["2 Kosmos", "+", "", needed],
        ["3 Pali", "+", needed, ""],
    ]


def test_equal_policies_are_undecided_and_missing_ones_have_a_dash():
    frame = records(skill={"kosmos-2": 0.5})
    twin = frame.assign(model="paligemma-1")
    tests = pairs.pair_tests(pd.concat([frame, twin]), POLICIES, "bridge")
    assert len(tests) == 1 and tests[0]["needed"] is None and tests[0]["p_adjusted"] == 1.0
    grid = pairs.pair_block(tests, POLICIES, ["a", "b", "c"], "pairs").rows
    assert (grid[0][2], grid[1][3]) == (pairs.GAP, pairs.MANY)
    assert len({pairs.GAP, pairs.MANY, "+", "-"}) == 4 and f"({pairs.MANY}: undecided" in pairs.PAIRS
    assert "0 of 1 pairs of backbones differ" in pairs.pair_sentence(tests, "bridge", "embedded")
    assert pairs.pair_sentence([], "bridge", "embedded") == ""


def test_with_several_seeds_the_p_value_covers_seeds():
    """Two seeds that disagree: the states are sure, the training is not."""
    better = [
        made.episodes("kosmos-2", "full", "bridge", skill, seed=k) for k, skill in enumerate((1.1, 0.3))
    ]
    worse = [made.episodes("paligemma-1", "full", "bridge", 0.3, seed=k) for k in (0, 1)]
    test = pairs.pair_tests(pd.concat([*better, *worse]), POLICIES[1:], "bridge")[0]
    assert test["states_p_value"] < 0.001 and test["ci_low"] < 0
    assert test["p_adjusted"] > 0.05 and not test["decided"] and test["hinges_on_seeds"]
    grid = pairs.pair_block([test], POLICIES[1:], ["a", "b"], "pairs").rows
    assert grid[0][2] == grid[1][1] == pairs.SEEDS
    assert "0 of 1 pairs of backbones differ at the" in pairs.pair_sentence([test], "bridge", "embedded")


def test_the_ranking_leaves_out_policies_with_gaps():
    frame = records(("bridge", "calvin"))
    partial = frame[~((frame["model"] == "kosmos-2") & (frame["benchmark"] == "calvin"))]
    whole, found, details = pairs.rank_over_all(partial, POLICIES, ["bridge", "calvin"])
    assert whole == [POLICIES[0], POLICIES[2]]
    assert [each.rank for each in found] == [2.0, 1.0]
    block = pairs.ranking_block(["Qwen", "Pali"], found)
    assert [row[0] for row in block.rows] == ["Pali", "Qwen"]
    assert json.loads(json.dumps(details))["policies"][0]["model"] == "qwen2.5-vl-3b"
    assert pairs.rank_over_all(frame.iloc[:0], POLICIES, ["bridge"]) == ([], [], {})


def test_ranks_follow_from_the_marks_of_the_pairs():
    frame = records(("bridge", "calvin"))
    tests = {name: pairs.pair_tests(frame, POLICIES, name) for name in ("bridge", "calvin")}
    better = pairs.better_pairs(tests["bridge"])
    assert better == {(POLICIES[1], POLICIES[0]), (POLICIES[2], POLICIES[0])}
    ranks = ranks_on_benchmark(frame, POLICIES, "bridge", "success_rate", better)
    assert [(ranks[each].ci_low, ranks[each].ci_high) for each in POLICIES] == [(3, 3), (1, 2), (1, 2)]
    _, found, _ = pairs.rank_over_all(frame, POLICIES, ["bridge", "calvin"], tests)
    assert [each.rank_ci for each in found] == [(3, 3), (1, 2), (1, 2)]


def test_a_pair_that_hinges_on_seeds_leaves_its_ranks_open():
    better = [
        made.episodes("kosmos-2", "full", "bridge", skill, seed=k) for k, skill in enumerate((1.1, 0.3))
    ]
    worse = [made.episodes("paligemma-1", "full", "bridge", 0.3, seed=k) for k in (0, 1)]
    frame = pd.concat([*better, *worse])
    tests = pairs.pair_tests(frame, POLICIES[1:], "bridge")
    found = ranks_on_benchmark(frame, POLICIES[1:], "bridge", "success_rate", pairs.better_pairs(tests))
    assert {(each.ci_low, each.ci_high) for each in found.values()} == {(1, 2)}
    _, standing, _ = pairs.rank_over_all(frame, POLICIES[1:], ["bridge"])
    assert {each.rank_ci for each in standing} == {(1, 2)}


def test_task_grids_are_of_benchmarks_with_a_task_an_episode():
    frame = records(("bridge", "calvin"))
    rows = pairs.task_grids(frame, POLICIES, ["bridge", "calvin"])
    assert len(rows) == 3 * 4 and all(row["p_adjusted"] >= row["p_value"] for row in rows)
    assert pairs.task_grid(frame, POLICIES, "calvin") == []


def test_pairs_of_several_variants_are_pairs_of_policies():
    full = records(skill={"kosmos-2": 0.5, "paligemma-1": 0.5})
    frozen = full.assign(variant="freeze-vision", checkpoint=full["checkpoint"] + "-frozen")
    policies = [(model, variant) for model, _ in POLICIES[1:] for variant in ("full", "freeze-vision")]
    tests = pairs.pair_tests(pd.concat([full, frozen]), policies, "bridge")
    assert len(tests) == 6
    assert "of 6 pairs of policies differ in" in pairs.pair_sentence(tests, "bridge", "embedded")
