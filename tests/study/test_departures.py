"""The settings in which a study differs from the paper scale, and their sentence in captions."""

from pathlib import Path

import pytest
import yaml
from fast_yaml import load_yaml

from vlm4vla.config.config import load_config
from vlm4vla.config.layers import read_layers
from vlm4vla.report.captions import scale_sentence
from vlm4vla.study.departures import departures
from vlm4vla.study.settings import StageSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def changed(tmp_path, layer):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(layer))
    return read_layers([ROOT / "config.yaml", ROOT / "workflow/scales/paper.yaml", tmp_path / "mine.yaml"])


def found(config, models=("qwen3-vl-2b",), benchmarks=("libero-10",), auxiliary=False):
    return departures(config, models, benchmarks, auxiliary=auxiliary)


def test_the_published_study_has_no_departures(tmp_path):
    config = changed(tmp_path, {"study": "mine"})
    assert found(config, [*config.backbones, *config.experts], list(config.benchmarks), True) == []


def test_another_scale_has_no_departures():
    config = load_config(load_yaml((ROOT / "config.yaml").read_text()), "config.yaml")
    assert found(config) == []


def test_only_settings_that_affect_the_numbers_are_listed(tmp_path):
    simulator = {"tasks": [0, 1], "runs": {"shards": 1, "processes": 2}}
    layer = {
        "minimum_free_gb": 5,
        "backbones": {"qwen3-vl-2b": {"checkpoint": "/mine", "revision": None}},
        "benchmarks": {
            "libero-10": {"evaluation": {"executed": [], "episodes": 2, "simulator": simulator}},
            "calvin": {"shift": 3},
        },
        "vla": {"steps": 400, "checkpoint_every": 100, "execution": {"processes": 1, "micro_batch": 32}},
    }
    config = changed(tmp_path, layer)
    assert found(config) == [
        "vla.steps 400 (50000)",
        "backbones.qwen3-vl-2b.checkpoint /mine (Qwen/Qwen3-VL-2B-Instruct)",
        "backbones.qwen3-vl-2b.revision not set (89644892e4d85e24eaac8bacfd4f463576704203)",
        "benchmarks.libero-10.evaluation.episodes 2 (50)",
        "benchmarks.libero-10.evaluation.simulator.tasks [0, 1] (not set)",
    ]
    assert found(config, ["kosmos-2"], ["calvin"]) == [
        "vla.steps 400 (50000)",
        "benchmarks.calvin.shift 3 (10)",
    ]


def test_settings_of_an_expert_count_for_this_expert_only(tmp_path):
    config = changed(tmp_path, {"experts": {"pi0": {"chunk": 11}}, "vla": {"steps": 400}})
    assert any(line.startswith("experts.pi0.chunk 11 (") for line in found(config, ["pi0"]))
    assert not any("chunk" in line for line in found(config))


def test_a_long_list_is_cut_and_ends_with_the_number_of_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("vlm4vla.study.departures.LISTED", 2)
    vla = {"steps": 400, "batch": 256, "optimiser": {"warmup": 0.5, "clip": 2.0}}
    lines = found(changed(tmp_path, {"vla": vla}))
    assert lines == ["vla.steps 400 (50000)", "vla.batch 256 (512)", "2 more in the study's config.yaml"]


def test_settings_of_cells_and_tables_have_departures(tmp_path):
    settings = StageSettings(changed(tmp_path, {"vla": {"steps": 400}}))

    class Wildcards:
        vlm, auxiliary, variant, benchmark = "qwen3-vl-2b", "none", "full", "libero-10"

    for text in (settings.cell_settings(Wildcards), settings.table_settings("main")):
        assert '"departures":["vla.steps 400 (50000)"]' in text.replace(": ", ":")
    unchanged = StageSettings(changed(tmp_path, {}))
    assert "departures" not in unchanged.table_settings("main")


def test_the_caption_lists_departures():
    assert scale_sentence("paper") == "Scale: paper (the study as published)."
    assert scale_sentence("paper", ["vla.steps 400 (50000)"]) == (
        "Scale: paper (the study as published, except for these settings, with the values of the paper "
        "scale in brackets: vla.steps 400 (50000))."
    )
