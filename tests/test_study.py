"""The study as runs, settings and paths."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_tables_hold_51_vlas(study):
    assert {table: len(study.cells(table)) for table in study.tables()} == {
        "main": 30,
        "freeze": 18,
        "scratch": 18,
        "correlation": 30,
    }
    assert len({run for table in study.tables() for run in study.cells(table)}) == 51


def test_references_are_floor_and_ceiling_of_each_benchmark(study):
    assert len(study.references("main")) == 6
    assert len(study.references("freeze")) == 4


def test_more_seeds_are_more_runs(raw):
    study = Study(load_config(raw | {"seeds": [0, 1]}))
    assert len(study.cells("main")) == 60


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
    assert sum("/rollouts/" in name for name in files) == 51 + 6
    assert sum("/vla/" in name for name in files) == 51


def test_a_study_without_main_has_no_correlation(raw):
    del raw["tables"]["main"]
    study = Study(load_config(raw))
    assert study.tables() == ["freeze", "scratch"]
    assert study.targets("correlation") == []
    assert len(study.targets("all_tables")) == len(study.table_files("freeze") + study.table_files("scratch"))


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
