"""A study is packed with the configuration that made it, and with no other."""

import copy
import json
from pathlib import Path

import pytest
from smoke_study import merge

from vlm4vla.config.config import load_config
from vlm4vla.core.errors import UserError
from vlm4vla.provenance.made_with import check_made_with
from vlm4vla.stages import study_config
from vlm4vla.study.results_folder import Results
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study

RUN = Run("kosmos-2", "none", "full", "bridge", 0)
NAME = Path("layer.yaml")


def write_artefact(root: Path, path: str, settings: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps({"stage": "x", "settings": json.loads(settings), "inputs": {}}))


@pytest.fixture
def made(study, tmp_path):
    """A results folder with a policy, its records and a table's numbers, without config.yaml."""
    root = tmp_path / "embedded"
    inside = f"{RUN.model}/none/full/bridge/seed0/provenance.json"
    write_artefact(root, f"vla/{inside}", study.vla_settings(RUN))
    write_artefact(root, f"rollouts/{inside}", study.rollout_settings(RUN))
    write_artefact(root, "rollouts/random/none/full/bridge/seed0/provenance.json", _reference(study))
    (root / "analysis").mkdir()
    numbers = {"settings": json.loads(study.table_settings("main")), "records": []}
    (root / "analysis" / "main.json").write_text(json.dumps(numbers))
    return Results(root)


def _reference(study: Study) -> str:
    return study.rollout_settings(Run("random", "none", "full", "bridge", 0))


def changed(raw: dict, **layer) -> dict:
    return merge(copy.deepcopy(raw), layer)


def refusal(raw: dict, results: Results) -> str:
    with pytest.raises(UserError) as error:
        check_made_with(load_config(raw), NAME, results)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{NAME}: ")
    return str(error.value)


def test_its_own_configuration_is_taken(raw, study, made):
    check_made_with(study.config, NAME, made)
    study_config.run(study.config, output=made.root)
    check_made_with(study.config, NAME, made)
    # where a study runs is no part of what it is
    check_made_with(load_config(changed(raw, minimum_free_gb=0, results="elsewhere")), NAME, made)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"vla": {"steps": 5}}, "was made with"),
        ({"vla": {"batch": 7}}, "training.batch is 7, but"),
        ({"benchmarks": {"bridge": {"evaluation": {"episodes": 3}}}}, "evaluation.episodes is 3, but"),
        ({"tables": {"main": {"seeds": [0, 5]}}}, "seeds is [0, 5], but"),
        ({"analysis": {"margin": 0.2}}, "analysis"),
        ({"study": "other"}, "study is 'other', but"),
    ],
)
def test_the_settings_of_artefacts_and_tables_tell(raw, made, layer, message):
    assert message in refusal(changed(raw, **layer), made)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        # keys that config.yaml in the results folder does not have, because they had their default values
        (
            {"benchmarks": {"bridge": {"evaluation": {"executed": [1, 2]}}}},
            "benchmarks.bridge.evaluation.executed is [1, 2], but",
        ),
        ({"analysis": {"margin": 0.2}}, "analysis"),
        ({"variants": {"mine": {"freeze": "vision"}}}, "variants.mine is"),
        ({"backbones": {"kosmos-2": {"parameters_b": 2}}}, "backbones.kosmos-2.parameters_b is 2.0, but"),
    ],
)
def test_a_key_that_only_the_configuration_has(raw, study, made, layer, message):
    study_config.run(study.config, output=made.root)
    found = refusal(changed(raw, **layer), made)
    assert message in found and "was made with" in found


def test_a_key_that_only_the_results_have(raw, made):
    study_config.run(
        load_config(changed(raw, benchmarks={"bridge": {"evaluation": {"executed": [1]}}})), output=made.root
    )
    assert "evaluation.executed is nothing, but" in refusal(raw, made)


def test_an_artefact_that_the_configuration_does_not_have(raw, made):
    raw = copy.deepcopy(raw)
    del raw["backbones"]["kosmos-2"]
    (made.root / "analysis" / "main.json").unlink()
    message = refusal(raw, made)
    assert "vlm kosmos-2" in message and "is nothing, but" in message and "provenance.json" in message


def test_a_configuration_of_another_version_is_compared_as_far_as_it_goes(raw, study, made):
    study_config.run(study.config, output=made.root)
    path = made.root / "config.yaml"
    path.write_text(path.read_text() + "a_key_of_long_ago: 1\n")
    check_made_with(study.config, NAME, made)
    assert "vla.steps is 5" in refusal(changed(raw, vla={"steps": 5}), made)


def test_records_of_another_version_are_not_compared(raw, study, made):
    for path in made.root.rglob("provenance.json"):
        path.write_text(json.dumps({"stage": "x", "settings": {"long": "ago"}, "inputs": {}}))
    (made.root / "analysis" / "main.json").write_text(
        json.dumps({"settings": {"study": "embedded", "scale": "embedded"}, "records": []})
    )
    check_made_with(load_config(changed(raw, vla={"steps": 5})), NAME, made)
