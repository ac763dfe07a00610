"""A change reruns the jobs that depend on it, and no other job."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.workflow
SMOKE = "workflow/scales/smoke.yaml"
FILMS, SUMMARY, CONFIG = "report: films", "report: summary", "report: configuration"
TRAINING = {"steps": 6, "batch": 8, "optimiser": {"learning_rate": 0.0007}}


@pytest.fixture
def project(finished, tmp_path):
    return finished.copy(tmp_path / "project")


def cells(stage: str, vlm: str, variant: str, *benchmarks: str) -> set[str]:
    return {f"{stage}: {vlm}, auxiliary none, {variant}, {benchmark}, seed 0" for benchmark in benchmarks}


def test_finished_study_has_nothing_to_do(project):
    assert project.dry_run() == set()
    assert "Nothing to be done" in project.snakemake("--cores", "2", "all_tables").stderr


@pytest.mark.exhaustive
def test_learning_rate_of_one_variant(project):
    project.change(SMOKE, lambda config: config.update(variants={"freeze-vision": {"training": TRAINING}}))
    assert project.dry_run() == {
        SUMMARY,
        CONFIG,
        *cells("vla", "qwen2.5-vl-3b", "freeze-vision", "calvin", "bridge"),
        *cells("rollout", "qwen2.5-vl-3b", "freeze-vision", "calvin", "bridge"),
        "table: freeze",
    }


def tuned(task: str, vlm: str, variant: str, benchmark: str) -> set[str]:
    """The jobs of one fine-tuned backbone and of the VLA on it."""
    cell = f"{vlm}, auxiliary {task}, {variant}, {benchmark}, seed 0"
    capability = f"capability: {vlm}, auxiliary {task}"
    return {f"auxiliary: {vlm}, {task}", capability, f"vla: {cell}", f"rollout: {cell}"}


def test_training_of_one_auxiliary_task(project):
    def change(config):
        config["auxiliary"]["tasks"]["robopoint"] = {"training": TRAINING}

    project.change(SMOKE, change)
    assert project.dry_run() == {
        SUMMARY,
        CONFIG,
        *tuned("robopoint", "qwen2.5-vl-3b", "full", "calvin"),
        "table: auxiliary",
    }


@pytest.mark.exhaustive
def test_training_of_a_task_in_no_table(project):
    project.change(SMOKE, lambda c: c["auxiliary"]["tasks"].update(robobrain2={"training": TRAINING}))
    assert project.dry_run() == {CONFIG}


@pytest.mark.exhaustive
def test_scale_of_the_fast_tokens(project):
    project.change(SMOKE, lambda config: config["auxiliary"]["fast"].update(scale=12))
    assert project.dry_run() == {
        SUMMARY,
        CONFIG,
        "auxiliary data: FAST tokens",
        *tuned("fast-unfreeze-vision", "qwen3-vl-4b", "full", "bridge"),
        "table: fast_injection",
    }


@pytest.mark.exhaustive
def test_added_auxiliary_task(project):
    def add(config):
        config["tables"]["auxiliary"]["auxiliaries"]["qwen2.5-vl-3b"].append("robo2vlm")

    project.change(SMOKE, add)
    assert project.dry_run() == {
        SUMMARY,
        CONFIG,
        "auxiliary data: robo2vlm",
        *tuned("robo2vlm", "qwen2.5-vl-3b", "full", "calvin"),
        "table: auxiliary",
    }


def test_seed_of_one_table(project):
    project.change(SMOKE, lambda config: config["tables"]["auxiliary"].update(seeds=[0, 1]))
    assert project.dry_run() == {
        SUMMARY,
        CONFIG,
        *(
            f"{stage}: qwen2.5-vl-3b, auxiliary {task}, full, calvin, seed 1"
            for stage in ("vla", "rollout")
            for task in ("none", "robopoint", "omni-generation")
        ),
        "table: auxiliary",
    }


@pytest.mark.exhaustive
def test_head_of_one_expert(project):
    project.change(SMOKE, lambda config: config["experts"].update(pi0={"head": {"integration_steps": 5}}))
    benchmarks = ("calvin", "bridge", "libero-10")
    assert project.dry_run() == {
        FILMS,
        SUMMARY,
        CONFIG,
        *cells("vla", "pi0", "full", *benchmarks),
        *cells("rollout", "pi0", "full", *benchmarks),
        "table: main",
    }


def test_added_backbone(project):
    new = {
        "family": "paligemma",
        "parameters_b": 2.0,
        "pretraining": "broad",
        "tiny": {"hidden": 64},
    }

    def add(config):
        config["backbones"] = {"newcomer": new}
        config["tables"]["main"]["backbones"].append("newcomer")

    project.change(SMOKE, add)
    benchmarks = ("calvin", "bridge", "libero-10")
    assert project.dry_run() == {
        FILMS,
        SUMMARY,
        CONFIG,
        "backbone: newcomer",
        "capability: newcomer, auxiliary none",
        *cells("vla", "newcomer", "full", *benchmarks),
        *cells("rollout", "newcomer", "full", *benchmarks),
        "table: main",
        "table: correlation",
        "table: transfer",
    }


@pytest.mark.exhaustive
def test_removed_backbone(project):
    project.change(SMOKE, lambda config: config["tables"]["main"]["backbones"].remove("kosmos-2"))
    assert project.dry_run() == {
        FILMS,
        SUMMARY,
        CONFIG,
        "table: main",
        "table: correlation",
        "table: transfer",
    }


@pytest.mark.exhaustive
def test_pretraining_of_one_recipe(project):
    project.change(SMOKE, lambda c: c["pretraining"]["recipes"]["grounding"]["training"].update(steps=7))
    benchmarks = ("calvin", "bridge", "libero-10")
    assert project.dry_run() == {
        FILMS,
        SUMMARY,
        CONFIG,
        "backbone: kosmos-2",
        "capability: kosmos-2, auxiliary none",
        *cells("vla", "kosmos-2", "full", *benchmarks),
        *cells("rollout", "kosmos-2", "full", *benchmarks),
        "table: main",
        "table: correlation",
        "table: transfer",
    }


def test_protocol_of_one_benchmark_trains_nothing(project):
    project.change(SMOKE, lambda config: config["benchmarks"]["libero-10"]["evaluation"].update(episodes=2))
    jobs = project.dry_run()
    assert not [job for job in jobs if job.startswith(("vla", "backbone", "demonstrations", "questions"))]
    assert {job.split(", ")[-2] for job in jobs if job.startswith("rollout") and "seed" in job} == {
        "libero-10"
    }
    assert {job for job in jobs if job.startswith("table")} == {
        "table: main",
        "table: scratch",
        "table: correlation",
        "table: transfer",
    }


def test_comments_and_touched_files_change_nothing(project):
    for name in ("config.yaml", SMOKE, "Snakefile", "rules/vla.smk", "envs/vlm4vla.yaml"):
        path = project.folder / name
        path.write_text("# another comment\n" + path.read_text())
    assert project.dry_run() == set()


@pytest.mark.exhaustive
def test_only_a_deleted_table_is_made_again(project):
    (project.folder / "results/smoke/tables/main.md").unlink()
    assert project.dry_run() == {SUMMARY, "table: main"}


def test_one_ablation_cell_as_a_target(project):
    path = "results/smoke/rollouts/kosmos-2/none/freeze-vision/bridge/seed0/episodes.parquet"
    assert project.dry_run(path) == {
        *cells("vla", "kosmos-2", "freeze-vision", "bridge"),
        *cells("rollout", "kosmos-2", "freeze-vision", "bridge"),
    }


def test_a_study_with_the_policies_of_another_one_has_rollouts_and_tables_only(project):
    project.change(SMOKE, lambda config: config.update(study="varied", policies_of="smoke"))
    jobs = {job.partition(":")[0] for job in project.dry_run()}
    assert {"rollout", "table", "report"} <= jobs
    assert not jobs & {"questions", "backbone", "auxiliary", "auxiliary data", "demonstrations", "vla"}
    assert "capability" not in jobs
