"""Released policies in the configuration, and the runs and settings that follow."""

import json
import re
from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study
from vlm4vla.workflow.jobs import plan
from vlm4vla.workflow.snakefile import any_model_of

CONFIG = Path(__file__).parents[2] / "config.yaml"
POLICY = {"checkpoint": "someone/pi0", "revision": "a" * 40, "execution_horizon": 3}
STATISTICS = {
    "state_mean": [0.0] * 8,
    "state_std": [1.0] * 8,
    "actions_mean": [0.0] * 7,
    "actions_std": [1.0] * 7,
}
LIBERO = {
    "adapter": "libero",
    "gripper": {"open": -1, "close": 1},
    "unnormalisation": "quantile",
    "success": "any-step",
    "policies": {
        "pi0": {
            "command": ["serve", "{host}:{port}"],
            "checkpoint": "pi0",
            "execution_horizon": 5,
            "unnormalisation": "quantile",
        }
    },
}


@pytest.fixture
def raw():
    return load_yaml(CONFIG.read_text())


def with_policy(raw, name="pi0", **changes):
    raw["benchmarks"]["libero-10"]["released_policies"] = {name: POLICY | changes}
    return raw


def run_of(benchmark, model="pi0"):
    return Run(model, "none", "full", benchmark, 0)


def test_a_released_policy_replaces_the_training_on_its_benchmark_only(raw):
    study = Study(load_config(with_policy(raw)))
    theirs, ours = run_of("libero-10"), run_of("bridge")
    assert not study.is_trained(theirs) and study.is_trained(ours)
    assert study.embedded_released() == [("pi0", "libero-10")]
    assert study.served_vla(theirs) == [] and study.served_vla(ours) == [study.vla_path(ours)]
    jobs = plan(study, ["table_main"])
    assert study.vla_path(theirs) not in jobs and study.vla_path(ours) in jobs
    assert jobs[study.episodes_path(theirs)].inputs == ()
    assert study.vla_path(theirs) not in study.declared()


def test_settings_of_its_rollout(raw):
    raw["benchmarks"]["libero-10"]["evaluation"]["centre_crop"] = 0.9
    before = Study(load_config(raw))
    study = Study(load_config(with_policy(raw, statistics=STATISTICS)))
    found = json.loads(study.rollout_settings(run_of("libero-10")))
    assert found["released"] == POLICY | {"statistics": STATISTICS}
    assert found["policy"] == "vla" and found["evaluation"]["execution_horizon"] == 3
    assert "centre_crop" not in found["evaluation"]  # which only policies of the study have
    own = json.loads(study.rollout_settings(run_of("libero-10", "kosmos-2")))
    assert own["evaluation"]["centre_crop"] == 0.9
    for model, benchmark in (("kosmos-2", "libero-10"), ("pi0", "bridge"), ("random", "libero-10")):
        run = run_of(benchmark, model)
        assert study.rollout_settings(run) == before.rollout_settings(run)


def test_by_default_it_executes_as_many_actions_as_the_policies_of_the_benchmark(raw):
    raw["experts"]["pi0"]["execution_horizon"] = 1  # of the policy that is trained here
    study = Study(load_config(with_policy(raw, execution_horizon=None)))
    evaluation = json.loads(study.rollout_settings(run_of("libero-10")))["evaluation"]
    assert (
        evaluation["execution_horizon"] == raw["benchmarks"]["libero-10"]["evaluation"]["execution_horizon"]
    )


def test_the_caption_names_it(raw):
    study = Study(load_config(with_policy(raw)))
    found = json.loads(study.table_settings("main"))["experts"]
    assert found["pi0"]["released"] == {"libero-10": f"someone/pi0@{'a' * 40}"}
    assert found["pi0"]["executed"] == "5 of 10/2 of 4 predicted actions"
    assert "released" not in found["openvla"]
    raw["tables"]["main"]["benchmarks"] = ["libero-10"]
    only = json.loads(Study(load_config(raw)).table_settings("main"))["experts"]["pi0"]
    assert only["executed"] == "" and only["released"] == found["pi0"]["released"]


def test_a_configuration_without_it_has_no_such_key(raw):
    dumped = load_config(raw).model_dump(mode="json")
    assert all("released_policies" not in benchmark for benchmark in dumped["benchmarks"].values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "pi1"},
            "released_policies.pi1: there is no expert VLA with this name: did you mean 'pi0'?",
        ),
        ({"checkpoint": ""}, "released_policies.pi0.checkpoint: "),
        ({"execution_horizon": 0}, "released_policies.pi0.execution_horizon: 0 is not above 0"),
        ({"statistics": STATISTICS | {"state_std": [1.0]}}, "state_mean has 8 numbers and state_std has 1"),
        ({"statistics": STATISTICS | {"actions_std": [1.0] * 6}}, "actions_std has 6 numbers: write 7"),
        ({"statistics": STATISTICS | {"actions_std": [-1.0] * 7}}, "actions_std.0: -1.0 is below 0"),
        ({"statistics": {"state_mean": [0.0]}}, "statistics.state_std: missing"),
        ({"revison": "a"}, "released_policies.pi0.revison: unknown key: did you mean 'revision'?"),
    ],
)
def test_errors_name_the_key(raw, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_config(with_policy(raw, **changes))


def test_a_policy_has_a_server_or_none(raw):
    raw["benchmarks"]["libero-10"]["evaluation"]["simulator"] = LIBERO
    with pytest.raises(UserError, match="has this policy, too: remove one of the two"):
        load_config(with_policy(raw))


def test_on_a_real_simulator_no_vla_is_served(raw):
    raw["benchmarks"]["libero-10"]["evaluation"]["simulator"] = LIBERO | {"policies": {}}
    study = Study(load_config(with_policy(raw)))
    assert study.embedded_released() == []
    assert study.served_options(run_of("libero-10")) == []


def test_the_wildcard_of_its_rule_fits_its_own_paths_only():
    pattern = re.compile(rf"rollouts/(?P<vlm>{any_model_of([('pi0', 'libero-10')])})/")
    assert pattern.match("rollouts/pi0/none/full/libero-10/seed0/episodes.parquet")
    for path in ("pi0/none/full/bridge", "pi0/none/full/libero-100", "pi01/none/full/libero-10"):
        assert not pattern.match(f"rollouts/{path}/seed0/episodes.parquet")
    assert any_model_of([]) == "none"
