"""The rules for question scores from lmms-eval and from a CSV file, run by Snakemake."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vlm4vla.report.rows.capability_scores import OVERALL, read_capability

pytestmark = pytest.mark.workflow


def snakemake(project, layer: dict, *words: str) -> subprocess.CompletedProcess:
    """Run Snakemake with a layer that overrides the smoke scale, and with the real stages."""
    (project.folder / "layer.yaml").write_text(yaml.safe_dump(layer))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        *words,
        "--configfile",
        "workflow/scales/smoke.yaml",
        "layer.yaml",
    ]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": path}
    return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)


def test_published_scores_need_no_backbone(project):
    (project.folder / "scores.csv").write_text("model,score\nkosmos-2,50\nqwen2.5-vl-3b,60\n")
    layer = {"capability": {"source": "scores", "scores": {"file": "scores.csv"}}}
    target = "results/smoke/capability/kosmos-2/none.json"
    dry = snakemake(project, layer, "--dry-run", target)
    assert re.findall(r"^Job \d+: (.*)$", dry.stdout, re.MULTILINE) == [
        "capability: kosmos-2, auxiliary none, from published scores"
    ]
    done = snakemake(project, layer, target, "--cores", "1")
    assert done.returncode == 0, done.stderr
    assert read_capability([project.folder / target])["kosmos-2", "none"][OVERALL].value == 0.5


def test_a_model_without_a_score_stops_the_run_before_any_job(project):
    (project.folder / "scores.csv").write_text("model,score\nkosmos-2,50\n")
    layer = {"capability": {"source": "scores", "scores": {"file": "scores.csv"}}}
    done = snakemake(project, layer, "--dry-run", "correlation")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 1 and "no line for model 'qwen2.5-vl-3b'" in line


def test_a_result_file_of_lmms_eval_is_read_after_the_backbone_exists(project):
    made = project.folder / "results" / "smoke" / "backbones" / "kosmos-2" / "provenance.json"
    ready = {}
    for model in ("kosmos-2", "qwen2.5-vl-3b"):
        content = {"results": {"pope": {"m,none": 0.75}}, "model_name": f"x/backbones/{model}"}
        content["n-samples"] = {"pope": {"original": 9000, "effective": 9000}}
        (project.folder / f"{model}.json").write_text(json.dumps(content))
        ready[model] = f"{model}.json"
    given = {"tasks": {"pope": {"metric": "m"}}, "results": ready}
    layer = {
        "capability": {"source": "lmms-eval", "lmms_eval": given},
        "tables": {"auxiliary": {"auxiliaries": ["none"]}, "fast_injection": {"auxiliaries": ["none"]}},
    }
    layer["tables"]["fast_injection"]["backbones"] = ["kosmos-2"]
    target = "results/smoke/capability/kosmos-2/none.json"
    dry = snakemake(project, layer, "--dry-run", target)
    jobs = re.findall(r"^Job \d+: (.*)$", dry.stdout, re.MULTILINE)
    assert jobs[-1] == "capability: kosmos-2, auxiliary none, by lmms-eval", dry.stdout + dry.stderr
    assert "backbone: kosmos-2" in jobs
    # Run the stage as the rule calls it, with a backbone that exists.
    shutil.copytree(project.folder / "samples" / "backbone", made.parent)
    made.write_text('{"stage": "backbone"}')
    done = snakemake(project, layer, target, "--cores", "1", "--allowed-rules", "capability")
    assert done.returncode == 0, done.stderr
    score = read_capability([project.folder / target])["kosmos-2", "none"][OVERALL]
    assert (score.value, score.questions) == (0.75, 9000)
