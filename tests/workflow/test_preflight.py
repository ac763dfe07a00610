"""The checks before any job starts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from vlm4vla.core.errors import UserError
from vlm4vla.workflow.preflight import check_gpus, check_results, open_study

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw(tmp_path) -> dict:
    return yaml.safe_load(CONFIG.read_text()) | {"results": str(tmp_path / "results"), "minimum_free_gb": 0}


def test_valid_configuration(raw):
    study = open_study(raw, ["all_tables", f"{raw['results']}/embedded/tables/main.csv"])
    assert study.config.study == "embedded"


def test_family_without_adapter(raw):
    raw["backbones"]["kosmos-2"]["family"] = "kosmos2"
    with pytest.raises(UserError, match=r"backbones.kosmos-2.family: unknown family .* 'kosmos-2'"):
        open_study(raw)


def test_expert_on_a_family_without_expert_heads(raw):
    raw["experts"]["pi0"]["backbone"] = "kosmos-2"
    with pytest.raises(UserError, match=r"experts\.pi0\.backbone: 'kosmos-2' has the family 'kosmos-2'"):
        open_study(raw)


def test_expert_as_a_target(raw):
    path = f"{raw['results']}/embedded/rollouts/{{}}/none/full/bridge/seed0/episodes.parquet"
    assert open_study(raw, [path.format("pi0")])
    with pytest.raises(UserError, match="unknown backbone 'pi1'"):
        open_study(raw, [path.format("pi1")])
    with pytest.raises(UserError, match="unknown backbone 'pi0'"):
        open_study(raw, [f"{raw['results']}/embedded/backbones/pi0/provenance.json"])


def test_target_of_another_study(raw):
    with pytest.raises(UserError, match=r"'embedded' makes files below .*--configfile"):
        open_study(raw, ["results/mine/cells/qwen3-vl-2b/none/full/bridge.md"])


def test_cell_without_file_ending(raw):
    target = f"{raw['results']}/embedded/cells/qwen3-vl-2b/none/full/bridge"
    with pytest.raises(UserError, match=r"did you mean '.*/bridge\.md'"):
        open_study(raw, [target])
    assert open_study(raw, [f"{target}.tex"])


def test_table_that_is_not_in_the_configuration(raw):
    del raw["tables"]["freeze"]
    with pytest.raises(UserError, match=r"has no such table: add tables.freeze"):
        open_study(raw, ["table_freeze"])


def test_results_in_a_file(raw, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"results: folder .* is not writable"):
        open_study(raw | {"results": str(tmp_path / "file" / "results")})


def test_disk_without_free_space(raw):
    study = open_study(raw)
    tight = study.config.model_copy(update={"minimum_free_gb": 1e9})
    needed = r"results: the workflow \(minimum_free_gb\) needs 1000000000\.0 GB, and the disk of .* GB free"
    with pytest.raises(UserError, match=needed):
        check_results(tight)


def test_published_study_needs_nothing_for_training(raw):
    raw["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": "nothing"}
    raw["minimum_free_gb"] = 1e9
    assert open_study(raw, ["published"]).published_study()
    with pytest.raises(UserError, match="minimum_free_gb"):
        open_study(raw, ["published", "all_tables"])


def test_name_of_the_published_study_is_reserved(raw):
    with pytest.raises(UserError, match=r"study: 'published' is reserved for the paper's numbers"):
        open_study(raw | {"study": "published"})


def test_missing_published_scores(raw):
    with pytest.raises(UserError, match=r"published_scores: no file 'no.csv'"):
        open_study(raw | {"published_scores": "no.csv"})


def test_hub_checkpoint_is_not_checked_on_disk(raw):
    raw["backbones"]["real"] = {
        "family": "kosmos-2",
        "parameters_b": 1.7,
        "checkpoint": "owner/name",
        "revision": "0123abc",
    }
    assert open_study(raw).config.backbones["real"].revision == "0123abc"


@pytest.mark.parametrize("name", ["pyproject.toml", "nothing"])
def test_checkpoint_that_is_not_a_folder(raw, name):
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
    ) as error:
        open_study(raw)
    assert "\n" not in str(error.value)


def test_universal_tokenizer_with_its_files(raw, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "processor_config.json").write_text('{"scale": 10, "vocab_size": 2048, "min_token": -354}')
    raw["auxiliary"]["fast"]["tokenizer"] = str(tmp_path)
    assert open_study(raw).config.auxiliary.fast.tokenizer == str(tmp_path)


@pytest.mark.parametrize(("needed", "offered"), [(0, None), (0, 0), (1, 1), (8, 8), (4, 8)])
def test_enough_gpus(tmp_path, capsys, needed, offered):
    (tmp_path / "nvidia0").touch()
    check_gpus(needed, offered, tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("needed", "offered"), [(8, 1), (1, 0)])
def test_too_few_gpus(tmp_path, needed, offered):
    with pytest.raises(UserError, match=rf"--resources gpu={offered}: .* needs {needed} GPUs") as error:
        check_gpus(needed, offered, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "nvidia0", "kfd", "nvidiactl"])
def test_a_machine_without_gpu_causes_a_note(tmp_path, capsys, name):
    if name:
        (tmp_path / name).touch()
    check_gpus(1, 1, tmp_path)
    assert ("no GPU found" in capsys.readouterr().err) == (name in ("", "nvidiactl"))
