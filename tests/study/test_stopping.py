"""Evaluation that stops early: which rollout each one is compared with, and the errors before a run."""

import json

import pytest

from vlm4vla import cli
from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.results_folder import Results
from vlm4vla.study.runs import Run
from vlm4vla.study.stopping import reference_of
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.units import merges_shards, rollout_episodes
from vlm4vla.workflow.jobs import plan

FULL = Run("kosmos-2", "none", "full", "bridge", 0)


def stopping(raw, benchmark="bridge", **stop):
    raw["benchmarks"][benchmark]["evaluation"]["stop"] = stop
    return raw


@pytest.mark.parametrize(
    ("against", "run", "reference"),
    [
        (
            "full",
            Run("kosmos-2", "none", "freeze-vision", "bridge", 2),
            Run("kosmos-2", "none", "full", "bridge", 2),
        ),
        (
            "full",
            Run("kosmos-2", "robopoint", "scratch", "bridge", 2),
            Run("kosmos-2", "robopoint", "full", "bridge", 2),
        ),
        ("full", FULL, None),
        ("none", Run("kosmos-2", "robopoint", "full", "bridge", 0), FULL),
        ("none", Run("kosmos-2", "none", "freeze-vision", "bridge", 0), None),
        (
            "kosmos-2",
            Run("paligemma-1", "none", "full", "bridge", 1),
            Run("kosmos-2", "none", "full", "bridge", 1),
        ),
        ("kosmos-2", FULL, None),
        ("kosmos-2", Run("paligemma-1", "none", "freeze-vision", "bridge", 0), None),
        ("kosmos-2", Run("paligemma-1", "robopoint", "full", "bridge", 0), None),
        ("random", Run("kosmos-2", "none", "full", "bridge", 3), Run("random", "none", "full", "bridge", 0)),
        ("random", Run("random", "none", "full", "bridge", 0), None),
        ("random", Run("expert", "none", "full", "bridge", 0), None),
        ("random", Run("pi0", "none", "full", "bridge", 0), None),
        ("random", Run("kosmos-2", "none", "full", "bridge", 0, "-executed1"), None),
        ("random", Run("kosmos-2", "none", "full", "calvin", 0), None),
    ],
)
def test_the_policy_that_each_rollout_is_compared_with(raw, against, run, reference):
    config = load_config(stopping(raw, against=against))
    assert reference_of(config, run) == reference


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        ({"against": "kosmos"}, "evaluation.stop.against: unknown policy 'kosmos': did you mean 'kosmos-2'?"),
        ({"against": "expert"}, "evaluation.stop.against: unknown policy 'expert'"),
        ({}, "evaluation.stop.against: missing"),
        ({"against": "full", "alpha": 0}, "evaluation.stop.alpha: 0 is not above 0"),
        ({"against": "full", "alpha": 1}, "evaluation.stop.alpha: 1 is not below 1: write a number below 1"),
        ({"against": "full", "alpha": float("nan")}, "evaluation.stop.alpha"),
        ({"against": "full", "block": 0}, "evaluation.stop.block: 0 is not above 0"),
        ({"against": "full", "hopeless": 1}, "evaluation.stop.hopeless: 1 is not below 1"),
        ({"against": "full", "hopeful": 1}, "evaluation.stop.hopeful: unknown key: did you mean 'hopeless'?"),
    ],
)
def test_a_wrong_stop_is_one_line(raw, stop, message):
    with pytest.raises(UserError) as caught:
        load_config(stopping(raw, **stop))
    assert f"benchmarks.bridge.{message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_of_two_kinds_is_refused(raw):
    raw["variants"]["kosmos-2"] = raw["variants"]["full"]
    with pytest.raises(UserError, match="'kosmos-2' is a backbone and a variant: rename one of them"):
        load_config(stopping(raw, against="kosmos-2"))


def test_a_policy_is_not_compared_with_itself(raw):
    raw["tables"] = {"main": {"backbones": ["kosmos-2"], "variants": ["full"], "benchmarks": ["bridge"]}}
    with pytest.raises(UserError, match="no table compares another policy with it on bridge") as caught:
        Study(load_config(stopping(raw, against="kosmos-2")))
    assert "\n" not in str(caught.value)
    assert Study(load_config(stopping(raw, against="random")))


def test_the_reference_must_be_rolled_out_with_the_same_seed(raw):
    cells = {"backbones": ["kosmos-2", "paligemma-1"], "variants": ["full"], "benchmarks": ["bridge"]}
    raw["tables"] = {"main": cells, "freeze": cells | {"variants": ["freeze-vision"], "seeds": [7]}}
    Study(load_config(stopping(raw, against="kosmos-2")))
    message = "no table has the policy kosmos-2, variant full, seed 7 on bridge: add it to a table"
    with pytest.raises(UserError, match=message):
        Study(load_config(stopping(raw, against="full")))
    raw["tables"]["main"]["seeds"] = [0, 7]
    Study(load_config(stopping(raw, against="full")))


def test_a_benchmark_without_tables_is_not_checked(raw):
    raw["tables"] = {"main": {"backbones": ["kosmos-2"], "variants": ["full"], "benchmarks": ["calvin"]}}
    assert Study(load_config(stopping(raw, against="full")))


def test_only_rollouts_that_can_stop_have_the_setting(raw):
    before = Study(load_config(raw))
    after = Study(load_config(stopping(raw, against="full", alpha=0.01)))
    other = Run("paligemma-1", "none", "freeze-vision", "bridge", 0)
    assert before.rollout_settings(FULL) == after.rollout_settings(FULL)
    assert before.rollout_arguments(other) == before.rollout_settings(other)
    assert '"stop"' not in before.rollout_settings(other)
    settings, option, folder = after.rollout_arguments(other)
    stop = {"against": "full", "alpha": 0.01, "block": 10, "hopeless": 0.0}
    assert json.loads(settings)["evaluation"]["stop"] == stop
    assert option == "--against" and folder.endswith("/rollouts/paligemma-1/none/full/bridge/seed0")
    assert before.vla_settings(other) == after.vla_settings(other)
    floor = Run("random", "none", "full", "bridge", 0)
    assert after.rollout_arguments(floor) == before.rollout_arguments(floor)


def test_the_plan_rolls_out_the_reference_first(raw):
    study = Study(load_config(stopping(raw, against="full")))
    own, full = (
        study.episodes_path(Run("paligemma-1", "none", variant, "bridge", 0))
        for variant in ("freeze-vision", "full")
    )
    jobs = plan(study, [own])
    assert full in jobs[own].inputs and list(jobs).index(full) < list(jobs).index(own)
    assert not any("/rollouts/" in each for each in jobs[full].inputs)


def test_a_rollout_that_can_stop_has_no_shards(raw):
    from simulator_examples import protocol

    evaluation = protocol("libero-10", episodes=10).model_dump(mode="json")
    evaluation["simulator"]["runs"] |= {"shards": 4, "processes": 3}
    raw["benchmarks"]["libero-10"]["evaluation"] = evaluation
    raw["benchmarks"]["libero-10"]["normalisation"] = evaluation["simulator"]["unnormalisation"]
    study = Study(load_config(stopping(raw, "libero-10", against="kosmos-2")))
    own, reference = (Run(name, "none", "full", "libero-10", 0) for name in ("paligemma-1", "kosmos-2"))
    assert study.shard_paths(own) == [] and len(study.shard_paths(reference)) == 4
    assert study.served_options(own)[-2:][0] == "--against"
    jobs = plan(study, [study.episodes_path(own)])
    mine, other = (jobs[study.episodes_path(run)] for run in (own, reference))
    assert not merges_shards(mine) and merges_shards(other)
    assert rollout_episodes(mine.settings) == 100 and rollout_episodes(other.settings) == 25


def test_the_records_of_the_other_policy_are_found_after_the_study_has_moved(tmp_path):
    path = (
        tmp_path
        / "moved"
        / "rollouts"
        / "kosmos-2"
        / "none"
        / "full"
        / "bridge"
        / "seed0"
        / "provenance.json"
    )
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    recorded = f"results/smoke/{path.relative_to(tmp_path / 'moved')}"
    assert Results(tmp_path / "moved").locate(recorded) == path


def test_the_estimate_says_that_it_counts_all_episodes(tmp_path, capsys):
    layer = tmp_path / "stop.yaml"
    layer.write_text("benchmarks: {bridge: {evaluation: {stop: {against: full}}}}")
    sentence = "rollouts that can stop early run all episodes"
    assert cli.main(["estimate", "table_freeze", "--cores", "2", "--configfile", str(layer)]) in (0, None)
    assert sentence in capsys.readouterr().out
    cli.main(["estimate", "table_freeze", "--cores", "2"])
    assert sentence not in capsys.readouterr().out
