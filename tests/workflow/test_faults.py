"""Wrong input stops the run before any job, with one line that says what to write, and no traceback."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.workflow


def error_line(project, *arguments: str) -> str:
    """Run Snakemake, not as a dry run, and return the line of the error that it stops with."""
    done = project.snakemake("--cores", "1", *arguments)
    assert done.returncode == 1, done.stdout
    assert not (project.folder / "calls.txt").exists(), "a job ran"
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Config file")]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("table_mian", "did you mean 'table_main'?"),
        ("results/smoke/tables/scrach.csv", "unknown table 'scrach': did you mean 'scratch'?"),
        (
            "results/smoke/backbones/kosmos2/provenance.json",
            "unknown backbone 'kosmos2': did you mean 'kosmos-2'?",
        ),
        (
            "results/smoke/vla/kosmos-2/none/freeze-visoin/calvin/seed0/provenance.json",
            "unknown variant 'freeze-visoin': did you mean 'freeze-vision'?",
        ),
        (
            "results/smoke/vla/kosmos-2/none/full/libero/seed0/provenance.json",
            "unknown benchmark 'libero': did you mean 'libero-10'?",
        ),
        ("elsewhere/file", "below results/smoke/"),
    ],
)
def test_unknown_target(project, target, message):
    assert message in error_line(project, target)


def test_unknown_key(project):
    project.change("workflow/scales/smoke.yaml", lambda config: config["vla"].update(stpes=3))
    assert (
        error_line(project)
        == "error: workflow/scales/smoke.yaml: vla.stpes: unknown key: did you mean 'steps'?"
    )


def test_unknown_auxiliary_task(project):
    project.change(
        "workflow/scales/smoke.yaml",
        lambda config: config["tables"]["auxiliary"]["auxiliaries"].update({"qwen2.5-vl-3b": ["robopiont"]}),
    )
    assert error_line(project) == (
        "error: workflow/scales/smoke.yaml: tables.auxiliary.auxiliaries: unknown auxiliary task "
        "'robopiont': did you mean 'robopoint'?"
    )


def test_universal_fast_tokenizer_without_its_files(project):
    project.change(
        "workflow/scales/smoke.yaml", lambda config: config["auxiliary"]["fast"].update(tokenizer="nowhere")
    )
    assert "auxiliary.fast.tokenizer: 'nowhere/tokenizer.json' is missing" in error_line(project)


def test_results_folder_is_a_file(project):
    (project.folder / "taken").write_text("a file")
    assert "results: folder 'taken' is not writable" in error_line(project, "--config", "results=taken")


def test_disk_with_too_little_free_space(project):
    line = error_line(project, "--config", "minimum_free_gb=9000000")
    assert "results: the workflow (minimum_free_gb) needs 9000000.0 GB, and the disk of" in line


def test_checkpoint_without_weights(project):
    (project.folder / "empty").mkdir()
    (project.folder / "empty" / "config.json").write_text("{}")

    def add(config):
        config["backbones"]["real"] = {"family": "kosmos-2", "parameters_b": 1.7, "checkpoint": "empty"}

    project.change("config.yaml", add)
    line = error_line(project)
    assert "backbones.real.checkpoint" in line and "model.safetensors is missing" in line


def test_truncated_weights_of_an_existing_backbone(project):
    folder = project.folder / "results/smoke/backbones/kosmos-2"
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text("{}")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    assert "not a complete safetensors file" in error_line(project)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_results_folder_without_permission(project):
    (project.folder / "results").mkdir(mode=0o555)
    assert "is not writable" in error_line(project)
