"""workflow/scales/released.yaml: its plan, its documented differences from paper.yaml, and its captions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fidelity_table as page
import pytest
import yaml

from vlm4vla.config.layers import read_layers
from vlm4vla.conventions.scales import BASE, LAYERS
from vlm4vla.report.captions import scale_sentence
from vlm4vla.study.departures import departures
from vlm4vla.study.runs import Run
from vlm4vla.study.study import Study
from vlm4vla.workflow.jobs import plan

REPOSITORY = Path(__file__).parents[2]
QWEN3 = {"positions": "one-axis", "deepstack": False, "query_position": "after-padding"}
READINGS = {
    "qwen2.5-vl-7b": {"positions": "one-axis"},
    "qwen3-vl-30b-a3b": QWEN3,
    "paligemma-2": {"attention": "causal", "query_position": "after-padding"},
    "kosmos-2": {"image": "before-text", "query_position": "after-padding"},
    "internvl3.5-4b": {"query_position": "after-padding"},
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(scope="module")
def studies():
    return {scale: Study(page.configuration(scale)) for scale in ("paper", "released")}


def vla_settings(study, vlm, benchmark):
    return json.loads(study.vla_settings(Run(vlm, "none", "full", benchmark, 123)))


def test_the_table_of_the_page_lists_every_difference():
    text = page.PAGE.read_text()
    assert page.with_table(text) == text, "run: PYTHONPATH=src python tests/support/fidelity_table.py"
    numbers = [int(line.split("|")[1]) for line in page.generated(text).splitlines()[2:]]
    assert set(numbers) == {2, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15, 17} and sorted(numbers) == numbers


def test_every_difference_of_the_page_has_an_answer():
    rows = page.rows_of_page(page.PAGE.read_text())
    assert list(rows) == list(range(1, 22))


@pytest.mark.parametrize(
    "path",
    [("benchmarks", "calvin", "chunk"), ("vla", "batch"), ("benchmarks", "bridge", "evaluation", "seed")],
)
def test_a_difference_without_a_row_is_found(path):
    found = [*page.all_differences(), (path, 1, 2)]
    with pytest.raises(LookupError, match=rf"no row names the setting {'.'.join(path)}"):
        page.generated(page.PAGE.read_text(), found)


def test_every_changed_setting_is_seen(studies, tmp_path):
    """The table compares whole configurations, so that a setting at its default counts too."""
    layer = {"benchmarks": {"calvin": {"evaluation": {"simulator": {"environment_seed": 3}}}}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(layer))
    more = read_layers([BASE, *LAYERS["released"], tmp_path / "more.yaml"])
    paths = [path for path, _, _ in page.differences((), studies["released"].config, more)]
    assert paths == [("benchmarks", "calvin", "evaluation", "simulator", "environment_seed")]


@pytest.mark.parametrize("scale", ["paper", "released"])
@pytest.mark.parametrize("vlm", READINGS)
def test_policies_read_prompts_as_the_layer_says(studies, scale, vlm):
    reading = vla_settings(studies[scale], vlm, "bridge").get("reading", {})
    own_format = {"attention": "prefix"} if vlm.startswith("paligemma") else {}
    assert reading == (READINGS[vlm] if scale == "released" else own_format)


def test_training_settings_of_the_released_code(studies):
    released = studies["released"]
    for vlm in released.config.backbones:
        for benchmark in released.config.benchmarks:
            settings = vla_settings(released, vlm, benchmark)
            calvin = benchmark == "calvin"
            assert settings["training"]["optimiser"]["clip"] is None
            assert settings["head"]["query"] == "zeros"
            assert settings.get("second_bounds") == (None if calvin else [-0.65, 0.65])
            assert settings["shift"] == ([-10, 9] if calvin else 0)
            assert settings["training"]["steps"] == (41165 if calvin else 50000)
            assert settings.get("first_episodes") == (360 if benchmark == "libero-10" else None)
    evaluation = released.config.benchmarks["libero-10"].evaluation
    idle = evaluation.simulator.idle_steps, evaluation.simulator.idle_order
    assert idle == (5, "interleaved") and evaluation.max_steps == 520 + 5


def test_other_stages_have_the_settings_of_the_paper(studies):
    """Expert VLAs, demonstrations and checkpoints do not depend on the layer."""
    for benchmark in ("calvin", "bridge"):
        settings = vla_settings(studies["released"], "pi0", benchmark)
        assert settings["reading"] == {"attention": "prefix"}  # of pi0 itself, not of its backbone
        assert settings["training"]["optimiser"]["clip"] == 1.0
    for vlm in studies["paper"].config.backbones:
        stage = type("Wildcards", (), {"vlm": vlm})
        assert studies["paper"].backbone_settings(stage) == studies["released"].backbone_settings(stage)


def test_the_layer_plans_the_same_jobs(studies):
    jobs = {}
    for scale, study in studies.items():
        names = ((job.stage, str(name)) for name, job in plan(study).items())
        jobs[scale] = {(stage, name.replace(f"/{scale}/", "/")) for stage, name in names}
    assert jobs["paper"] == jobs["released"] and len(jobs["paper"]) > 1000


def test_captions_name_the_layer(studies, tmp_path):
    released = studies["released"].config
    models, benchmarks = [*released.backbones, *released.experts], list(released.benchmarks)
    assert departures(released, models, benchmarks, auxiliary=True) == []
    assert "workflow/scales/released.yaml over paper.yaml" in scale_sentence("released")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"head": {"query": "last-token"}}))
    mine = read_layers([BASE, *LAYERS["released"], tmp_path / "mine.yaml"])
    (line,) = departures(mine, models, benchmarks, auxiliary=True)
    assert line == "head.query not set (zeros)"
    assert "with the values of the released scale in brackets: " + line in scale_sentence("released", [line])


@pytest.mark.workflow
def test_snakemake_plans_the_layer(tmp_path):
    command = [sys.executable, "-m", "snakemake", "table_main", "--dry-run", "--quiet"]
    command += ["--configfile", *map(str, LAYERS["released"]), "--config", f"results={tmp_path}"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "released" in done.stdout + done.stderr


def test_make_passes_both_files():
    done = subprocess.run(
        ["make", "--dry-run", "table_main", "SCALE=released"], capture_output=True, text=True, timeout=60
    )
    assert " ".join(map(str, LAYERS["released"])) in done.stdout
