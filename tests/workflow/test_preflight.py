"""Checks before any job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from vlm4vla.core.errors import UserError
from vlm4vla.workflow.preflight import check_results, open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw(tmp_path) -> dict:
    return yaml.safe_load(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def test_good_configuration(raw):
    study = open_study(raw, ["all_tables", f"{raw['results']}/embedded/tables/main.csv"])
    assert study.config.study == "embedded"


def test_family_without_adapter(raw):
    raw["backbones"]["kosmos-2"]["family"] = "kosmos2"
    with pytest.raises(UserError, match=r"backbones.kosmos-2.family: unknown family .* 'kosmos-2'"):
        open_study(raw)


def test_expert_on_a_family_that_cannot_be_read(raw):
    raw["experts"]["pi0"]["backbone"] = "kosmos-2"
    with pytest.raises(UserError, match=r"experts\.pi0\.backbone: 'kosmos-2' is of the family 'kosmos-2'"):
        open_study(raw)


def test_expert_by_its_path(raw):
    path = f"{raw['results']}/embedded/rollouts/{{}}/none/full/bridge/seed0/episodes.parquet"
    assert open_study(raw, [path.format("pi0")])
    with pytest.raises(UserError, match="unknown backbone 'pi1'"):
        open_study(raw, [path.format("pi1")])
    with pytest.raises(UserError, match="unknown backbone 'pi0'"):
        open_study(raw, [f"{raw['results']}/embedded/backbones/pi0/provenance.json"])


def test_path_of_another_study_names_the_layers(raw):
    with pytest.raises(UserError, match=r"'embedded' makes files below .*--configfile"):
        open_study(raw, ["results/mine/cells/qwen3-vl-2b/none/full/bridge.md"])


def test_cell_without_its_ending(raw):
    target = f"{raw['results']}/embedded/cells/qwen3-vl-2b/none/full/bridge"
    with pytest.raises(UserError, match=r"did you mean '.*/bridge\.md'"):
        open_study(raw, [target])
    assert open_study(raw, [f"{target}.tex"])


def test_table_that_the_configuration_lacks(raw):
    del raw["tables"]["freeze"]
    with pytest.raises(UserError, match=r"has no such table: add tables.freeze"):
        open_study(raw, ["table_freeze"])


def test_results_below_a_file(raw, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"results: folder .* cannot be written"):
        open_study(raw | {"results": str(tmp_path / "file" / "results")})


def test_disk_without_room(raw):
    study = open_study(raw)
    tight = study.config.model_copy(update={"minimum_free_gb": 1e9})
    with pytest.raises(UserError, match="GB free, minimum_free_gb asks for"):
        check_results(tight)


def test_published_needs_nothing_of_what_training_needs(raw):
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": "nothing"}
    raw["minimum_free_gb"] = 1e9
    assert open_study(raw, ["published"]).published_study()
    with pytest.raises(UserError, match="minimum_free_gb"):
        open_study(raw, ["published", "all_tables"])


def test_name_of_the_published_study_is_taken(raw):
    with pytest.raises(UserError, match=r"study: 'published' is where the paper's numbers go"):
        open_study(raw | {"study": "published"})


def test_published_scores_that_are_not_there(raw):
    with pytest.raises(UserError, match=r"published_scores: no file 'no.csv'"):
        open_study(raw | {"published_scores": "no.csv"})


def test_hub_checkpoint_is_not_looked_for_on_disk(raw):
    raw["backbones"]["real"] = {
        "family": "kosmos-2",
        "parameters_b": 1.7,
        "checkpoint": "owner/name",
        "revision": "0123abc",
    }
    assert open_study(raw).config.backbones["real"].revision == "0123abc"


@pytest.mark.parametrize("name", ["pyproject.toml", "nothing"])
def test_checkpoint_that_is_no_folder(raw, name):
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": name}
    with pytest.raises(UserError, match=r"backbones.real.checkpoint: folder .* does not exist"):
        open_study(raw)


def test_checkpoint_of_another_family(raw, tmp_path):
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": str(tmp_path)}
    with pytest.raises(UserError, match=r"backbones\.real\.family: 'kosmos-2', but .* is a 'qwen2_5_vl'"):
        open_study(raw)
    raw["backbones"]["real"]["family"] = "qwen2_5_vl"
    open_study(raw)


@pytest.mark.parametrize("present", [(), ("tokenizer.json",)])
def test_universal_tokenizer_without_its_files(raw, tmp_path, present):
    for name in present:
        (tmp_path / name).write_text("{}")
    raw["auxiliary"]["fast"]["tokenizer"] = str(tmp_path)
    missing = "processor_config" if present else "tokenizer"
    with pytest.raises(
        UserError, match=rf"auxiliary\.fast\.tokenizer: .*{missing}\.json' is missing"
    ) as fault:
        open_study(raw)
    assert "\n" not in str(fault.value)


def test_universal_tokenizer_with_its_files(raw, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "processor_config.json").write_text('{"scale": 10, "vocab_size": 2048, "min_token": -354}')
    raw["auxiliary"]["fast"]["tokenizer"] = str(tmp_path)
    assert open_study(raw).config.auxiliary.fast.tokenizer == str(tmp_path)
