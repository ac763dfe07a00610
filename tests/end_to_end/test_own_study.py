"""Run docs/your-own-study.md as written: its blocks, pasted one below the other, override the smoke scale."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from documented_blocks import pasted
from fast_yaml import load_yaml
from smoke_study import LAYER, REPOSITORY, snakemake
from transformers import AutoConfig

from vlm4vla.backbones.generic.twin import build_twin
from vlm4vla.config.backbones import TinySize
from vlm4vla.core.artefacts import file_hash

# test_smoke_study.py runs the same stages, and tests/workflow/test_pasted_pages.py plans this study.
pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1500), pytest.mark.exhaustive]
DOCUMENT = REPOSITORY / "docs" / "your-own-study.md"
LAYERS = (LAYER, "my-study.yaml", "few.yaml")
CELLS = (
    "cells/smolvlm-500m/leftmost/full/push-button.md",  # a new family, task and benchmark
    "cells/my-vlm/none/full/push-button.md",  # only configuration
    "cells/any-vlm/none/full/push-button.md",  # a checkpoint of a model type without an adapter of its own
)
FEW = {
    "backbones": {"any-vlm": {"family": "gemma3", "parameters_b": 4.3, "checkpoint": "twin"}},
    "benchmarks": {
        "push-button": {"demonstrations": {"episodes": 12}, "evaluation": {"episodes": 2, "videos": 1}}
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, str]:
    """The results folder, and the output of the run."""
    folder = tmp_path_factory.mktemp("own") / "project"
    folder.mkdir()
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(REPOSITORY / name, folder / name)
    for name in ("rules", "workflow", "envs", "docs"):
        shutil.copytree(REPOSITORY / name, folder / name)
    (folder / "my-study.yaml").write_text(pasted(DOCUMENT, "yaml"))
    (folder / "few.yaml").write_text(yaml.safe_dump(FEW))
    model, processor = build_twin("gemma3", TinySize(), ["push", "the", "button"], 64, seed=0)
    for part in (model, processor):
        part.save_pretrained(folder / "twin")
    targets = [f"results/smoke/{cell}" for cell in CELLS]
    done = snakemake(*targets, "--cores", "2", folder=folder, layers=LAYERS)
    assert done.returncode == 0, done.stderr[-6000:]
    return folder / "results" / "smoke", done.stderr


def test_the_document_has_all_four_extensions_and_valid_links():
    shown = load_yaml(pasted(DOCUMENT, "yaml"))
    assert {shown["backbones"][name]["family"] for name in ("my-vlm", "smolvlm-500m")} == {
        "qwen3_vl",
        "smolvlm",
    }
    assert "push-button" in shown["benchmarks"] and "leftmost" in shown["auxiliary"]["tasks"]
    assert all((REPOSITORY / path).is_file() for path in shown["extensions"])
    for link in re.findall(r"\]\(([^)]+)\)", DOCUMENT.read_text()):
        assert (DOCUMENT.parent / link).exists(), link


@pytest.mark.exhaustive
def test_cells_agree_with_the_records(made):
    root, _ = made
    text = (root / CELLS[0]).read_text()
    for part in ("smolvlm-500m after leftmost", "push-button (smoke)", "4 initial states", "own score"):
        assert part in text
    assert "my-vlm" in (root / CELLS[1]).read_text()
    assert "any-vlm" in (root / CELLS[2]).read_text()
    for cell in CELLS:
        with (root / cell).with_suffix(".csv").open(newline="") as handle:
            rows = {row["metric"]: row for row in csv.DictReader(handle)}
        row = rows["success_rate"]
        frame = pq.read_table(
            next((root / f"rollouts/{Path(cell).parent.relative_to('cells')}").rglob("episodes.parquet"))
        )
        assert float(row["value"]) == pytest.approx(sum(frame["success"].to_pylist()) / 4, abs=1e-5)
        assert (row["benchmark"], row["published"]) == ("push-button", "")


@pytest.mark.exhaustive
def test_artefacts_come_from_the_users_classes(made):
    root, _ = made
    assert AutoConfig.from_pretrained(root / "backbones/smolvlm-500m").model_type == "smolvlm"
    policy = root / "vla/smolvlm-500m/leftmost/full/push-button/seed0"
    assert AutoConfig.from_pretrained(policy / "backbone").model_type == "smolvlm"
    instructions = {
        row["instruction"]
        for path in root.glob("rollouts/my-vlm/**/episodes.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert instructions == {"push the knob to light the lamp", "push the knob to put out the lamp"}
    vocabulary = json.loads((policy / "backbone" / "tokenizer.json").read_text())
    words = set(vocabulary["model"]["vocab"])
    assert {"knob", "lamp", "leftmost"} <= words  # no built-in benchmark uses these words
    assert (policy.parents[4] / "my-vlm/none/full/push-button/seed0/policy.safetensors").is_file()
    scores = json.loads((root / "auxiliary/smolvlm-500m/leftmost/score.json").read_text())
    assert {"before", "after"} == set(scores)


@pytest.mark.exhaustive
def test_every_stage_that_runs_a_file_records_its_hash(made):
    root, _ = made
    examples = REPOSITORY / "docs" / "examples"
    for artefact, name in (
        ("backbones/smolvlm-500m", "smolvlm.py"),
        ("auxiliary_data/leftmost", "leftmost.py"),
        ("demonstrations/push-button", "push_button.py"),
        ("rollouts/my-vlm/none/full/push-button/seed0", "push_button.py"),
    ):
        record = json.loads((root / artefact / "provenance.json").read_text())
        assert record["settings"]["extension"] == file_hash(examples / name), artefact
    built_in = json.loads((root / "backbones/my-vlm/provenance.json").read_text())
    assert "extension" not in built_in["settings"]


@pytest.mark.exhaustive
def test_a_second_run_has_nothing_to_do(made):
    root, _ = made
    targets = [f"results/smoke/{cell}" for cell in CELLS]
    folder = root.parents[1]
    again = snakemake(*targets, "--cores", "2", folder=folder, layers=LAYERS)
    assert again.returncode == 0 and "Nothing to be done" in again.stderr
