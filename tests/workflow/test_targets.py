"""The jobs of each target, and the time of a dry run."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter

import pytest
from workflow_project import REPOSITORY

pytestmark = pytest.mark.workflow


def stages(jobs) -> Counter:
    return Counter(job.split(":")[0] for job in jobs)


def test_the_jobs_of_the_embedded_study_and_the_time_of_its_dry_run(project):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
    )
    assert time.monotonic() - start < 15
    jobs = re.findall(r"^Job \d+: (.*)$", done.stdout, re.MULTILINE)
    assert stages(jobs) == {
        "questions": 1,
        "backbone": 10,
        "auxiliary data": 8,
        "auxiliary": 9,
        "capability": 10 + 9,
        "demonstrations": 3,
        "vla": 90,
        "rollout": 90 + 6,
        "table": 7,
        "report": 3,
    }


@pytest.mark.parametrize(
    ("target", "tables", "vlas"),
    [
        ("table_main", {"main"}, 6 + 9),
        ("table_freeze", {"freeze"}, 6),
        ("table_scratch", {"scratch"}, 6),
        ("table_auxiliary", {"auxiliary"}, 3),
        ("table_fast_injection", {"fast_injection"}, 2),
        ("correlation", {"correlation"}, 6),
        ("table_transfer", {"transfer"}, 6),
        (
            "all_tables",
            {"main", "freeze", "scratch", "auxiliary", "fast_injection", "correlation", "transfer"},
            29,
        ),
    ],
)
def test_target(project, target, tables, vlas):
    jobs = project.dry_run(target)
    assert {job.removeprefix("table: ") for job in jobs if job.startswith("table")} == tables
    assert stages(jobs)["vla"] == vlas


def test_jobs_of_tables_with_fine_tuned_backbones(project):
    assert project.dry_run("table_auxiliary") == {
        "questions: pictures, questions and answers",
        "backbone: qwen2.5-vl-3b",
        "auxiliary data: robopoint",
        "auxiliary data: omni-generation",
        "auxiliary: qwen2.5-vl-3b, robopoint",
        "auxiliary: qwen2.5-vl-3b, omni-generation",
        "capability: qwen2.5-vl-3b, auxiliary none",
        "capability: qwen2.5-vl-3b, auxiliary robopoint",
        "capability: qwen2.5-vl-3b, auxiliary omni-generation",
        "demonstrations: calvin",
        *(
            f"{stage}: qwen2.5-vl-3b, auxiliary {task}, full, calvin, seed 0"
            for stage in ("vla", "rollout")
            for task in ("none", "robopoint", "omni-generation")
        ),
        "rollout: random policy, calvin",
        "rollout: expert policy, calvin",
        "table: auxiliary",
    }
    assert stages(project.dry_run("table_fast_injection")) == {
        "questions": 1,
        "backbone": 1,
        "auxiliary data": 1,
        "auxiliary": 1,
        "capability": 2,
        "demonstrations": 1,
        "vla": 2,
        "rollout": 2 + 2,
        "table": 1,
    }


def test_default_target_is_all_tables(project):
    assert project.dry_run() == project.dry_run("all_tables")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("questions/provenance.json", {"questions": 1}),
        ("backbones/qwen3-vl-8b/provenance.json", {"questions": 1, "backbone": 1}),
        ("demonstrations/bridge/provenance.json", {"demonstrations": 1}),
        ("rollouts/expert/none/full/calvin/seed0/episodes.parquet", {"rollout": 1}),
        (
            "vla/kosmos-2/none/scratch/calvin/seed3/provenance.json",
            {"questions": 1, "backbone": 1, "demonstrations": 1, "vla": 1},
        ),
        (
            "rollouts/pi0/none/full/bridge/seed0/episodes.parquet",
            {"questions": 1, "backbone": 1, "demonstrations": 1, "vla": 1, "rollout": 1},
        ),
        (
            "rollouts/kosmos-2/robopoint/full/bridge/seed0/episodes.parquet",
            {
                "questions": 1,
                "backbone": 1,
                "auxiliary data": 1,
                "auxiliary": 1,
                "demonstrations": 1,
                "vla": 1,
                "rollout": 1,
            },
        ),
        (
            "cells/paligemma-2/robopoint/full/libero-10.md",
            {
                "questions": 1,
                "backbone": 1,
                "auxiliary data": 1,
                "auxiliary": 1,
                "capability": 2,
                "demonstrations": 1,
                "vla": 1,
                "rollout": 1,
                "cell": 1,
            },
        ),
        (
            "capability/kosmos-2/vica-332k.json",
            {"questions": 1, "backbone": 1, "auxiliary data": 1, "auxiliary": 1, "capability": 1},
        ),
    ],
)
def test_any_artefact_by_its_path(project, path, expected):
    assert stages(project.dry_run(f"results/smoke/{path}")) == expected


def test_no_torch_while_the_workflow_is_read():
    code = (
        "import sys, yaml; from vlm4vla.workflow.preflight import open_study;"
        "open_study(yaml.safe_load(open('config.yaml')) | {'results': sys.argv[1]});"
        "print([name for name in ('torch', 'transformers', 'mujoco', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "results"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_lint_is_clean(project):
    done = project.snakemake("--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_all_tables_makes_the_files_of_the_report(project):
    assert stages(project.dry_run("all_tables"))["report"] == 3
    assert stages(project.dry_run("table_freeze"))["report"] == 0
    assert project.dry_run("results/smoke/config.yaml") == {"report: configuration"}
