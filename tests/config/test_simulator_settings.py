"""The keys of evaluations on simulators: omitted defaults, error messages, and the protocol in words."""

import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
from fast_yaml import load_yaml
from pydantic import ValidationError
from simulator_examples import LIBERO, METAWORLD, protocol

from vlm4vla.config.benchmarks import EvaluationProtocol
from vlm4vla.config.config import load_config
from vlm4vla.config.stages import DemonstrationsSettings
from vlm4vla.core.errors import UserError
from vlm4vla.evaluation.simulators.recordings import protocol_text
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study

EVALUATION = {"episodes": 2, "max_steps": 40, "execution_horizon": 2}


@pytest.fixture
def raw(request):
    return load_yaml((request.config.rootpath / "config.yaml").read_text())


def with_libero(raw, **changes):
    raw["benchmarks"]["libero-10"]["evaluation"]["simulator"] = LIBERO | changes
    return raw


def test_embedded_is_the_default_and_not_in_the_json():
    plain, named = EvaluationProtocol(**EVALUATION), EvaluationProtocol(**EVALUATION, simulator="embedded")
    assert plain == named and "simulator" not in plain.model_dump()


def test_arguments_of_an_adapter_may_be_any_value_of_json():
    params = {"send_wrist_image": True, "cameras": ["a", None], "limits": {"x": -0.5, "n": 3}}
    assert protocol("libero-10", {"params": params}).simulator.params == params


def test_settings_of_embedded_rollouts_have_no_keys_of_simulators(raw):
    study = Study(load_config(raw))
    run = Run("kosmos-2", "none", "full", "bridge", 0)
    assert '"simulator"' not in study.rollout_settings(run) and '"shard"' not in study.rollout_settings(run)


@pytest.mark.parametrize(
    ("benchmark", "changes", "message"),
    [
        ("libero-10", {"gripper": {"open": 1, "close": -1}}, "libero opens at -1 and closes at +1"),
        ("calvin", {"gripper": {"open": -1, "close": 1}}, "calvin opens at +1 and closes at -1"),
        ("libero-10", {"gripper": {"open": 1, "close": 1}}, "open and close are both 1"),
        ("libero-10", {"success": "last-step"}, "write any-step"),
        ("bridge", {"tasks": None}, "write each environment with its steps"),
        ("bridge", {"idle_steps": 3}, "simplerenv has no idle steps"),
        ("libero-10", {"idle_steps": 0, "idle_order": "interleaved"}, "interleaved needs idle_steps"),
        (
            "libero-10",
            {"idle_order": "interleaved", "runs": {"container": "image"}},
            "interleaved needs idle_steps, and a simulator in an `environment`",
        ),
        ("libero-10", {"tasks": [0, 10]}, "10 is not below 10"),
        ("libero-10", {"tasks": [1, 1]}, "write each task once"),
        ("calvin", {"tasks": [0]}, "remove this key"),
        ("libero-10", {"adapter": "other"}, "adapter"),
        ("libero-10", {"runs": {"environment": "a", "container": "b"}}, "either `environment` or"),
        ("metaworld", {"gripper": {"open": 1, "close": -1}}, "metaworld opens at -1 and closes at +1"),
        ("metaworld", {"success": "last-step"}, "write any-step"),
        ("metaworld", {"idle_steps": 1}, "metaworld has no idle steps"),
        (
            "metaworld",
            {"params": {"env_seed": 9}},
            "params.env_seed: another key sets it: write `environment_seed`",
        ),
        ("libero-10", {"params": {"suite": "libero_10_lan"}}, "another key sets it: write `variation`"),
        ("metaworld", {"runs": {"container": "image"}}, "metaworld runs in an `environment` only"),
        ("metaworld", {"tasks": [10]}, "10 is not below 10"),
        ("libero-10", {"first_state": 1}, "50 from simulator.first_state 1 on, but a task has 50"),
        ("calvin", {"first_state": 1}, "calvin chooses its initial states itself: write 0"),
        ("libero-10", {"variation": "lan"}, "write one of language, object, position, task"),
        ("libero-10", {"variation": "environment"}, "libero has no variation 'environment'"),
        ("bridge", {"variation": "object"}, "simplerenv has no variation 'object': remove this key"),
        (
            "libero-10",
            {"variation": "object", "runs": {"container": "image"}},
            "variation: needs a simulator in an `environment`",
        ),
    ],
)
def test_errors_in_the_keys_of_a_simulator(benchmark, changes, message):
    with pytest.raises(ValidationError) as caught:
        protocol(benchmark, changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unnormalisation": "range"}, "unnormalisation: range, but benchmarks.libero-10.normalisation is"),
        (
            {"adapter": "calvin", "gripper": {"open": 1, "close": -1}, "idle_steps": 0},
            "calvin is the simulator of calvin, and libero-10 has other actions",
        ),
        (
            {"policies": {"pi9": {"command": ["x", "{host}", "{port}"], "checkpoint": "c",
                                  "unnormalisation": "q", "execution_horizon": 5}}},
            "there is no expert VLA with this name",
        ),
    ],
)  # fmt: skip
def test_a_simulator_must_fit_the_rest_of_the_configuration(raw, changes, message):
    with pytest.raises(UserError, match=r"evaluation\.simulator") as caught:
        load_config(with_libero(raw, **changes))
    assert message in str(caught.value) and "\n" not in str(caught.value)


METAWORLD_BENCHMARK = {
    "demonstrations": {"dataset": "demonstrations/metaworld"},
    "chunk": 4,
    "normalisation": "quantile",
    "evaluation": {"episodes": 20, "max_steps": 200, "execution_horizon": 4, "simulator": METAWORLD},
}


def with_metaworld(raw, simulator=None, dataset="demonstrations/metaworld", **evaluation):
    own = METAWORLD_BENCHMARK["evaluation"] | evaluation
    if simulator != "embedded":
        own = own | {"simulator": METAWORLD | (simulator or {})}
    else:
        own = {key: value for key, value in own.items() if key != "simulator"}
    demonstrations = {"dataset": dataset} if dataset else {"episodes": 10, "noise": 0}
    raw["benchmarks"]["metaworld"] = METAWORLD_BENCHMARK | {
        "demonstrations": demonstrations,
        "evaluation": own,
    }
    return raw


def test_a_study_has_metaworld_beside_the_embedded_benchmarks(raw):
    study = Study(load_config(with_metaworld(raw, {"runs": {"shards": 2}})))
    run = Run("kosmos-2", "none", "full", "metaworld", 0)
    assert len(study.shard_paths(run)) == 2
    assert protocol_text("metaworld", protocol("metaworld")).startswith(
        "metaworld (metaworld through vla-eval)"
    )
    training = protocol_text("metaworld", protocol("metaworld", {"first_state": 1000}))
    assert "initial states 1000 to 1019" in training


def test_metaworlds_own_experts_are_recorded_and_are_the_ceiling(raw):
    """Nothing is recorded again because evaluations play other states, or because more processes run."""
    raw["tables"]["main"]["benchmarks"] = ["metaworld"]
    study, other = (
        Study(load_config(with_metaworld(deepcopy(raw), changes, dataset=None)))
        for changes in ({}, {"first_state": 500, "runs": {"shards": 2}})
    )
    wildcards = SimpleNamespace(benchmark="metaworld")
    settings = DemonstrationsSettings.model_validate_json(study.demonstrations_settings(wildcards))
    assert settings.simulator.adapter == "metaworld" and settings.demonstrations.episodes == 10
    assert other.demonstrations_settings(wildcards) == study.demonstrations_settings(wildcards)
    assert [run.model for run in study.references("main")] == ["random", "expert"]
    ceiling = study.references("main")[1]
    assert json.loads(study.rollout_settings(ceiling))["policy"] == "script"
    assert study.served_vla(ceiling) == study.served_demonstrations(ceiling) == []
    assert study.served_demonstrations(study.references("main")[0]) == [
        study.demonstrations_path("metaworld")
    ]
    embedded = SimpleNamespace(benchmark="calvin")
    assert "simulator" not in json.loads(study.demonstrations_settings(embedded))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simulator": "embedded"}, "simulator: missing: metaworld is not embedded: write a mapping"),
        ({"max_steps": 501}, "max_steps: 501, but metaworld ends an episode after 500 steps"),
        ({"episodes": 1001}, "the states 0 to 1000 are those of evaluations and of demonstrations"),
        (
            {"simulator": {"first_state": 990}},
            "the states 990 to 1009 are those of evaluations and of demonstrations, which begin at 1000",
        ),
        ({"simulator": {"unnormalisation": "range"}}, "unnormalisation: range, but benchmarks.metaworld"),
    ],
)
def test_a_configuration_with_metaworld_that_cannot_run(raw, changes, message):
    with pytest.raises(UserError, match=r"benchmarks\.metaworld\.") as caught:
        load_config(with_metaworld(raw, **changes))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_metaworld_is_no_simulator_of_another_benchmark(raw):
    with pytest.raises(UserError, match="metaworld is the simulator of metaworld, and libero-10 has other"):
        load_config(with_libero(raw, adapter="metaworld", idle_steps=0))


def test_remote_code_must_be_allowed(raw):
    served = {
        "command": ["vla-eval", "serve", "-c", "openvla/libero_10.yaml", "--address", "{host}:{port}"],
        "checkpoint": "openvla/openvla-7b-finetuned-libero-10",
        "unnormalisation": "quantile",
        "execution_horizon": 1,
    }
    with pytest.raises(UserError, match="remote_code: true"):
        load_config(with_libero(raw, policies={"openvla": served}))
    study = Study(load_config(with_libero(raw, policies={"openvla": served | {"remote_code": True}})))
    theirs, ours = (Run(name, "none", "full", "libero-10", 0) for name in ("openvla", "pi0"))
    assert study.served_vla(theirs) == [] and study.served_vla(ours) == [study.vla_path(ours)]
    assert study.vla_path(theirs) not in study.declared() and study.vla_path(ours) in study.declared()


def test_an_unknown_simulator(raw):
    raw["benchmarks"]["bridge"]["evaluation"]["simulator"] = "embeded"
    with pytest.raises(UserError, match="write `embedded`, or a mapping"):
        load_config(raw)


def test_a_simulator_has_a_floor_but_no_ceiling(raw):
    study = Study(load_config(with_libero(raw, runs={"shards": 3})))
    assert [run.model for run in study.references("main") if run.benchmark == "libero-10"] == ["random"]
    run = Run("kosmos-2", "none", "full", "libero-10", 0)
    assert [path.split("/")[-2] for path in study.shard_paths(run)] == ["0", "1", "2"]
    assert study.served_options(run) == ["--vla", str(Path(study.vla_path(run)).parent)]
    floor = study.references("main")[-1]
    assert study.served_options(floor) == ["--demonstrations", str(study.root / "demonstrations/libero-10")]


def test_the_protocol_in_words():
    text = protocol_text("bridge", protocol("bridge", execution_horizon=2, seed=5))
    for words in (
        "success at the last step",
        "widowx_put_eggplant_in_basket 120",
        "2 steps of a chunk executed",
        "gripper +1 opens and -1 closes",
        "+1 only after two such predictions in a row",
        "un-normalised by quantile",
        "seeds 5 of the episodes and 0 of the environment",
    ):
        assert words in text
    libero = protocol_text("libero-10", protocol("libero-10"))
    assert "success at any step" in libero and "at most 520 steps an episode" in libero
    assert "after 10 idle steps" in libero and "gripper -1 opens and +1 closes" in libero
    assert "at most 360 steps an instruction" in protocol_text("calvin", protocol("calvin"))


def test_the_protocol_names_chosen_states_and_a_variation():
    plain = protocol_text("libero-10", protocol("libero-10"))
    assert "initial states" not in plain and "variation" not in plain
    changes = {"first_state": 30, "variation": "position"}
    text = protocol_text("libero-10", protocol("libero-10", changes, episodes=20))
    assert "variation position of the tasks, initial states 30 to 49, at most 520 steps" in text


def test_new_keys_at_their_defaults_are_not_in_the_json():
    """So a study that does not use them keeps its finished rollouts."""
    dumped = protocol("libero-10").model_dump(mode="json")["simulator"]
    assert not {"first_state", "variation"} & set(dumped)
