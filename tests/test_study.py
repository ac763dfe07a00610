"""The study as runs, settings and paths."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from vlm4vla.config import load_config
from vlm4vla.study import Run, Study

CONFIG = Path(__file__).parents[1] / "config.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(CONFIG.read_text())


@pytest.fixture
def study(raw) -> Study:
    return Study(load_config(raw))


def test_tables_hold_90_vlas(study):
    assert {table: len(study.cells(table)) for table in study.tables()} == {
        "main": 39,  # thirty of backbones, nine expert VLAs
        "freeze": 18,
        "scratch": 18,
        "auxiliary": 27,
        "fast_injection": 6,
        "correlation": 30,
    }
    assert len({run for table in study.tables() for run in study.cells(table)}) == 51 + 9 + 25 + 5


def test_references_are_floor_and_ceiling_of_each_benchmark(study):
    assert len(study.references("main")) == 6
    assert len(study.references("freeze")) == 4


def test_more_seeds_are_more_runs(raw):
    study = Study(load_config(raw | {"seeds": [0, 1]}))
    assert len(study.cells("main")) == 78
    assert {run.seed for run in study.cells("auxiliary")} == {0, 1, 2}  # the table's own


def test_auxiliaries_of_each_backbone(study):
    cells = study.cells("auxiliary")
    tasks = {name: {run.auxiliary for run in cells if run.vlm == name} for name in study.config.backbones}
    assert tasks["qwen2.5-vl-7b"] == {"none", "omni-generation", "vqa-mix", "robobrain2"}
    assert tasks["qwen2.5-vl-3b"] == {"none", "bridgevqa", "robo2vlm", "robopoint", "vica-332k"}
    assert {run.auxiliary for run in study.cells("main")} == {"none"}
    assert [(run.auxiliary, run.variant) for run in study.cells("fast_injection")] == [
        (auxiliary, variant)
        for variant in ("freeze-vision", "full")
        for auxiliary in ("none", "fast-freeze-vision", "fast-unfreeze-vision")
    ]


def test_a_list_is_every_backbones(raw):
    raw["tables"]["auxiliary"]["auxiliaries"] = ["none", "robopoint"]
    study = Study(load_config(raw))
    assert study.cells_of("auxiliary").auxiliaries == {
        "qwen2.5-vl-7b": ["none", "robopoint"],
        "qwen2.5-vl-3b": ["none", "robopoint"],
    }


def test_backbones_that_the_table_lacks_are_left_out(raw, study):
    raw["tables"]["auxiliary"]["backbones"] = ["qwen2.5-vl-3b"]
    narrow = Study(load_config(raw))
    assert list(narrow.cells_of("auxiliary").auxiliaries) == ["qwen2.5-vl-3b"]
    raw["tables"]["auxiliary"]["auxiliaries"]["qwen2.5-vl-7b"] = ["none"]
    assert Study(load_config(raw)).table_settings("auxiliary") == narrow.table_settings("auxiliary")


def test_tables_of_fine_tuned_vlms_take_scores_of_each_and_of_its_base(study):
    root = study.root
    for table, count in (("auxiliary", 7), ("fast_injection", 2)):
        tuned = [vlm for vlm in study.vlms(table) if vlm[1] != "none"]
        assert len(tuned) == count
        assert study.table_auxiliary(table) == [
            f"{root}/auxiliary/{vlm}/{task}/provenance.json" for vlm, task in tuned
        ]
        wanted = {f"{root}/capability/{vlm}/{name}.json" for vlm, task in tuned for name in ("none", task)}
        assert set(study.table_capability(table)) == wanted
    assert study.table_fast("fast_injection") == [f"{root}/auxiliary_data/fast/provenance.json"]
    assert study.table_fast("auxiliary") == study.table_fast("main") == study.table_auxiliary("main") == []
    assert study.published("auxiliary") == "workflow/published/auxiliary_calvin.csv"


def test_a_table_without_none_still_takes_the_bases_capability(raw):
    raw["tables"]["fast_injection"]["auxiliaries"] = ["fast-freeze-vision"]
    study = Study(load_config(raw))
    assert study.capability_path("qwen3-vl-4b") in study.table_capability("fast_injection")


def test_a_universal_tokenizer_makes_vocabulary_and_scale_idle(raw):
    raw["auxiliary"]["fast"]["tokenizer"] = "somewhere"
    first = Study(load_config(raw)).fast_data_settings(None)
    raw["auxiliary"]["fast"] |= {"vocabulary": 300, "scale": 20}
    assert Study(load_config(raw)).fast_data_settings(None) == first
    assert json.loads(first)["fast"]["tokenizer"] == "somewhere"


def test_training_of_fast_injection_is_no_part_of_its_data(raw):
    first = Study(load_config(raw))
    own = raw["auxiliary"]["training"] | {"steps": 7}
    raw["auxiliary"]["fast"]["training"] = own
    other = Study(load_config(raw))
    assert first.fast_data_settings(None) == other.fast_data_settings(None)
    wildcards = SimpleNamespace(vlm="qwen3-vl-4b", task="fast-freeze-vision")
    assert json.loads(other.auxiliary_settings(wildcards))["training"]["steps"] == 7
    wildcards.task = "robopoint"
    assert first.auxiliary_settings(wildcards) == other.auxiliary_settings(wildcards)


def test_paths(study):
    run = Run("kosmos-2", "none", "full", "libero-10", 0)
    assert study.vla_path(run) == "results/embedded/vla/kosmos-2/none/full/libero-10/seed0/provenance.json"
    assert study.episodes_path(run) == (
        "results/embedded/rollouts/kosmos-2/none/full/libero-10/seed0/episodes.parquet"
    )
    assert study.capability_path("kosmos-2") == "results/embedded/capability/kosmos-2/none.json"


def test_declared_names_each_file_once(study):
    files = study.declared()
    assert len(files) == len(set(files))
    assert sum("/rollouts/" in name for name in files) == 90 + 6
    assert sum("/vla/" in name for name in files) == 90
    assert sum("/auxiliary/" in name for name in files) == 9
    assert sum("/auxiliary_data/" in name for name in files) == 8
    assert sum("/capability/" in name for name in files) == 10 + 9


def test_a_study_without_main_has_no_correlation(raw):
    del raw["tables"]["main"]
    study = Study(load_config(raw))
    assert study.tables() == ["freeze", "scratch", "auxiliary", "fast_injection"]
    assert study.targets("correlation") == []
    made = {path for table in study.tables() for path in study.table_files(table)}
    assert made < set(study.targets("all_tables"))
    assert not [path for path in study.targets("all_tables") if "/tables/main" in path]


def test_variant_with_its_own_training(raw):
    raw["variants"]["scratch"]["training"] = raw["vla"] | {"steps": 7}
    study = Study(load_config(raw))

    def steps(variant: str) -> int:
        run = Run("kosmos-2", "none", variant, "calvin", 0)
        return json.loads(study.vla_settings(run))["training"]["steps"]

    assert steps("scratch") == 7
    assert steps("full") == raw["vla"]["steps"]
    assert json.loads(study.table_settings("scratch"))["vla_steps"] == {"full": steps("full"), "scratch": 7}


@pytest.mark.parametrize(
    ("key", "value"),
    [("seeds", [0, 1]), ("minimum_free_gb", 1.0), ("results", "elsewhere")],
)
def test_settings_do_not_hold_what_the_stage_does_not_need(raw, study, key, value):
    other = Study(load_config(raw | {key: value}))
    run = Run("kosmos-2", "none", "full", "calvin", 0)
    for name in ("backbone_settings", "vla_settings", "rollout_settings", "demonstrations_settings"):
        assert getattr(study, name)(run) == getattr(other, name)(run)


def test_settings_are_canonical(study):
    text = study.vla_settings(Run("kosmos-2", "none", "freeze-vision", "bridge", 3))
    value = json.loads(text)
    assert text == json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert (value["freeze"], value["seed"], value["chunk"]) == ("vision", 3, 4)


def test_tables_settings_name_every_backbone(study):
    cells = json.loads(study.table_settings("main"))["cells"]
    assert cells["backbones"] == list(study.config.backbones)
