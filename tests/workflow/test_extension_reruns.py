"""A user's extension files in the workflow: the jobs that they add, and the jobs that a change reruns."""

from __future__ import annotations

import shutil

import pytest
from workflow_project import REPOSITORY, lay_out

pytestmark = pytest.mark.workflow
FILES = ("push_button.py", "leftmost.py")
CELL = "kosmos-2, auxiliary leftmost, full, push-button"
EPISODES = "results/smoke/rollouts/kosmos-2/leftmost/full/push-button/seed0/episodes.parquet"
BACKBONE = "results/smoke/backbones/smolvlm-500m/provenance.json"
EXPERT = "results/smoke/rollouts/expert/none/full/push-button/seed0/episodes.parquet"
BUILT_IN = (
    "results/smoke/rollouts/kosmos-2/none/full/bridge/seed0/episodes.parquet",
    "results/smoke/auxiliary/kosmos-2/robopoint/provenance.json",
)


def add(config: dict) -> None:
    """Add the configuration of docs/your-own-study.md without its table, and without its family (torch)."""
    config["extensions"] = [f"mine/{name}" for name in FILES]
    config["benchmarks"]["push-button"] = config["benchmarks"]["bridge"]
    config["auxiliary"]["tasks"]["leftmost"] = {}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with one cell made without extension files and one cell made with them, and the jobs that
    Snakemake planned for the second cell."""
    project = lay_out(tmp_path_factory.mktemp("own") / "project")
    project.make(*BUILT_IN)
    (project.folder / "mine").mkdir()
    for name in (*FILES, "smolvlm.py"):
        shutil.copy2(REPOSITORY / "docs" / "examples" / name, project.folder / "mine" / name)
    project.change("config.yaml", add)
    jobs = project.dry_run(EPISODES, EXPERT)
    project.make(EPISODES, EXPERT)
    return project, jobs


@pytest.fixture
def project(made, tmp_path):
    return made[0].copy(tmp_path / "project")


def touch(project, name: str) -> None:
    path = project.folder / "mine" / name
    path.write_text(path.read_text() + "\n# changed\n")


def test_a_cell_runs_only_the_jobs_that_it_needs(made):
    assert made[1] == {
        "auxiliary data: leftmost",
        "auxiliary: kosmos-2, leftmost",
        "demonstrations: push-button",
        f"vla: {CELL}, seed 0",
        f"rollout: {CELL}, seed 0",
        "rollout: expert policy, push-button",
    }


def test_finished_jobs_do_not_run_again(project):
    assert project.dry_run(*BUILT_IN, EPISODES, EXPERT) == set()


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("leftmost.py", {"auxiliary data: leftmost", "auxiliary: kosmos-2, leftmost"}),
        ("push_button.py", {"demonstrations: push-button", "rollout: expert policy, push-button"}),
    ],
)
def test_a_changed_file_reruns_the_jobs_that_depend_on_it(project, name, first):
    touch(project, name)
    jobs = project.dry_run(*BUILT_IN, EPISODES, EXPERT)
    assert jobs == first | {f"vla: {CELL}, seed 0", f"rollout: {CELL}, seed 0"}


@pytest.mark.exhaustive
def test_a_changed_family_reruns_its_backbones_only(project):
    def family(config: dict) -> None:
        tiny = {"hidden": 64, "intermediate": 128}
        new = {"family": "smolvlm", "parameters_b": 0.5, "pretraining": "broad", "tiny": tiny}
        config["backbones"]["smolvlm-500m"] = new
        config["extensions"].append("mine/smolvlm.py")

    project.change("config.yaml", family)
    project.make(BACKBONE)
    touch(project, "smolvlm.py")
    assert project.dry_run(*BUILT_IN, EPISODES, EXPERT, BACKBONE) == {"backbone: smolvlm-500m"}


def test_a_moved_file_reruns_nothing(project):
    (project.folder / "mine").rename(project.folder / "ours")
    project.change("config.yaml", lambda c: c.update(extensions=[f"ours/{name}" for name in FILES]))
    assert project.dry_run(EPISODES, EXPERT) == set()


def test_without_its_file_a_name_is_unknown(project):
    project.change("config.yaml", lambda config: config["extensions"].remove("mine/push_button.py"))
    done = project.snakemake("--dry-run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith(
            "error: config.yaml: benchmarks.push-button: unknown value 'push-button': known: bridge, calvin"
        )
    )
