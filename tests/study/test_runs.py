"""The runs of the tables of a configuration."""

from __future__ import annotations

import json
from pathlib import Path

from vlm4vla.config.config import load_config
from vlm4vla.config.layers import read_layers
from vlm4vla.conventions.scales import BASE, LAYERS
from vlm4vla.study.study import Study

ROOT = Path(__file__).parents[2]


def test_tables_hold_90_vlas(study):
    assert {table: len(study.cells(table)) for table in study.tables()} == {
        "main": 39,  # thirty of backbones, nine expert VLAs
        "freeze": 18,
        "scratch": 18,
        "auxiliary": 27,
        "fast_injection": 6,
        "correlation": 30,
        "transfer": 30,
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
    tasks = {name: {run.auxiliary for run in cells if run.model == name} for name in study.config.backbones}
    assert tasks["qwen2.5-vl-7b"] == {"none", "omni-generation", "vqa-mix", "robobrain2"}
    assert tasks["qwen2.5-vl-3b"] == {"none", "bridgevqa", "robo2vlm", "robopoint", "vica-332k"}
    assert {run.auxiliary for run in study.cells("main")} == {"none"}
    assert [(run.auxiliary, run.variant) for run in study.cells("fast_injection")] == [
        (auxiliary, variant)
        for variant in ("freeze-vision", "full")
        for auxiliary in ("none", "fast-freeze-vision", "fast-unfreeze-vision")
    ]


def test_a_list_of_auxiliary_tasks_holds_for_every_backbone(raw):
    raw["tables"]["auxiliary"]["auxiliaries"] = ["none", "robopoint"]
    study = Study(load_config(raw))
    assert study.cells_of("auxiliary").auxiliaries == {
        "qwen2.5-vl-7b": ["none", "robopoint"],
        "qwen2.5-vl-3b": ["none", "robopoint"],
    }


def test_auxiliary_tasks_of_backbones_outside_the_table_are_left_out(raw, study):
    raw["tables"]["auxiliary"]["backbones"] = ["qwen2.5-vl-3b"]
    narrow = Study(load_config(raw))
    assert list(narrow.cells_of("auxiliary").auxiliaries) == ["qwen2.5-vl-3b"]
    raw["tables"]["auxiliary"]["auxiliaries"]["qwen2.5-vl-7b"] = ["none"]
    assert Study(load_config(raw)).table_settings("auxiliary") == narrow.table_settings("auxiliary")


def test_rankings_need_two_benchmarks_or_another_study(raw):
    raw["tables"]["main"]["benchmarks"] = ["bridge"]
    alone = Study(load_config(raw))
    assert "transfer" not in alone.tables() and alone.targets("table_transfer") == []
    beside = Study(load_config(raw | {"transfer": {"records": ["results/other"]}}))
    assert beside.tables()[-1] == "transfer" and beside.targets("table_transfer")
    assert beside.table_other_studies("main") == beside.table_other_studies("transfer") == []  # no folder


def test_captions_speak_of_rankings_only_beside_a_real_benchmark(raw, study):
    assert {study.carry_over(table) for table in study.tables()} == {None}
    beside = Study(load_config(raw | {"transfer": {"records": ["results/other"]}}))
    expected = dict.fromkeys(beside.tables(), "name") | {
        "main": "numbers",
        "correlation": "numbers",
        "transfer": None,
    }
    assert {table: beside.carry_over(table) for table in beside.tables()} == expected
    assert beside.table_carried("correlation") == ["results/embedded/analysis/transfer.json"]
    assert beside.table_carried("freeze") == beside.table_carried("transfer") == []


def test_settings_name_the_benchmarks_on_real_simulators(raw):
    layers = [ROOT / "config.yaml", ROOT / "workflow/scales/libero.yaml"]
    libero = Study(load_config(read_layers(layers)))
    assert json.loads(libero.table_settings("main"))["real"] == ["libero-10"]
    assert json.loads(libero.film_settings())["real"] == ["libero-10"]
    paper = [ROOT / path for path in (BASE, *LAYERS["paper"])]
    assert "real" not in json.loads(Study(load_config(read_layers(paper))).table_settings("main"))


def test_a_study_without_main_has_no_correlation(raw):
    del raw["tables"]["main"]
    study = Study(load_config(raw))
    assert study.tables() == ["freeze", "scratch", "auxiliary", "fast_injection"]
    assert study.targets("correlation") == []
    made = {path for table in study.tables() for path in study.table_files(table)}
    assert made < set(study.targets("all_tables"))
    assert not [path for path in study.targets("all_tables") if "/tables/main" in path]
