"""A study that evaluates the policies of another study: `policies_of`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.jobs import plan
from vlm4vla.workflow.other_study import check_other_study
from vlm4vla.workflow.preflight import open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"
ROLLED_OUT = {"rollout", "table", "report"}


@pytest.fixture
def raw(tmp_path) -> dict:
    """The configuration of the study that trains the policies, with one table of one backbone."""
    raw = load_yaml(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}
    cells = {"backbones": ["qwen2.5-vl-3b"], "variants": ["full"], "benchmarks": ["bridge"]}
    return raw | {"tables": {"main": cells}, "seeds": [0]}


def other(raw: dict, **changes) -> dict:
    return copy.deepcopy(raw) | {"study": "varied", "policies_of": "embedded"} | changes


def write_models(raw: dict) -> list[Path]:
    """The provenance of every artefact of the first study that the second one reads."""
    study, trained = Study(load_config(other(raw))), Study(load_config(raw))
    paths = dict.fromkeys(path for job in plan(study, ["table_main"]).values() for path in job.others)
    jobs = plan(trained, ["table_main"])
    for path in map(Path, paths):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"stage": "vla", "settings": jobs[str(path)].settings, "inputs": {}}))
    return list(map(Path, paths))


def test_the_other_study_trains_and_this_one_rolls_out(raw):
    trained, study = Study(load_config(raw)), Study(load_config(other(raw)))
    jobs = plan(study, ["table_main"]).values()
    assert {job.stage for job in jobs} == ROLLED_OUT & {job.stage for job in jobs}
    rollouts = [job for job in jobs if job.stage == "rollout" and job.key[0] == "qwen2.5-vl-3b"]
    assert rollouts and all(Path(job.output).is_relative_to(study.root) for job in rollouts)
    run = SimpleNamespace(**rollouts[0].wildcards)
    assert rollouts[0].others == (trained.vla_path(trained.cells("main")[0]),)
    assert study.rolled_out_vla(run) == trained.rolled_out_vla(run)
    assert not any(str(trained.root) + "/" in path for path in study.declared())


def test_a_study_of_its_own_has_the_paths_that_it_had(raw):
    study = Study(load_config(raw))
    assert study.models_layout.root == study.layout.root and "policies_of" not in study.config_json()
    assert not any(job.others for job in plan(study).values())


def test_the_policies_must_be_there(raw):
    study = Study(load_config(other(raw)))
    with pytest.raises(UserError, match=r"policies_of: .* is missing: run the study 'embedded' first"):
        check_other_study(study, ["table_main"])
    with pytest.raises(UserError, match="is missing"):
        open_study(other(raw), ["table_main"])
    paths = write_models(raw)
    assert len(paths) >= 1
    check_other_study(study, ["table_main"])
    assert open_study(other(raw), ["table_main"]).root.name == "varied"


@pytest.mark.parametrize(("key", "value", "named"), [("chunk", 2, "chunk"), ("shift", 3, "shift")])
def test_the_policies_must_be_trained_with_the_same_settings(raw, key, value, named):
    write_models(raw)
    changed = other(raw)
    changed["benchmarks"]["bridge"][key] = value
    changed["benchmarks"]["bridge"]["evaluation"]["execution_horizon"] = 1
    with pytest.raises(UserError, match=f"was made with another value of '{named}'"):
        check_other_study(Study(load_config(changed)), ["table_main"])


def test_another_protocol_of_evaluation_is_no_other_setting(raw):
    write_models(raw)
    changed = other(raw)
    changed["benchmarks"]["bridge"]["evaluation"]["episodes"] += 1
    check_other_study(Study(load_config(changed)), ["table_main"])


def test_a_study_cannot_name_itself(raw):
    with pytest.raises(UserError, match="policies_of: 'embedded' is this study"):
        load_config(raw | {"policies_of": "embedded"})
