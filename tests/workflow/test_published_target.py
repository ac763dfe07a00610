"""The target `published`: planned, and made where the inputs of a training are missing."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest
from workflow_project import REPOSITORY, Project

pytestmark = pytest.mark.workflow


def real(project: Project) -> Project:
    """The project with the real command `vlm4vla` instead of the substitute script."""
    command = project.folder / "bin" / "vlm4vla"
    source = REPOSITORY / "src"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} -m vlm4vla.cli "$@"\n')
    return project


def test_the_target_has_one_job(project):
    assert project.dry_run("published") == {"published: the paper's numbers"}
    assert project.dry_run("results/published/tables/flagged.md") == {"published: the paper's numbers"}
    assert not any("published" in job for job in project.dry_run("all_tables"))


@pytest.mark.exhaustive
def test_it_is_made_where_no_training_could_run(project):
    def break_training(config):
        config["minimum_free_gb"] = 1e9
        config["backbones"]["kosmos-2"] = {
            "family": "kosmos-2",
            "parameters_b": 1.7,
            "checkpoint": "nowhere",
        }

    real(project).change("config.yaml", break_training)
    project.change("workflow/scales/smoke.yaml", lambda layer: layer.pop("minimum_free_gb"))
    refused = project.snakemake("--dry-run", "all_tables")
    assert refused.returncode == 1 and "error: " in refused.stderr
    done = project.snakemake("--cores", "1", "published")
    assert done.returncode == 0, (
        done.stderr + (project.folder / "results/published/logs/published.log").read_text()
    )
    with (project.folder / "results/published/tables/flagged.csv").open(newline="") as handle:
        assert "27.6" in {row["printed"] for row in csv.DictReader(handle)}


def test_a_missing_file_of_scores(project):
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "published",
        "--config",
        "published_scores=no.csv",
    ]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert (
        done.stderr.strip().splitlines()[-1].startswith("error: --config: published_scores: no file 'no.csv'")
    )
