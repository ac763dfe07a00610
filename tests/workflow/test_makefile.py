"""The Makefile: a misspelt target, scale or profile, or a wrong number of seeds, ends with one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which make cannot change the environment of the repository."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "envs", "src", "workflow"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    return tmp_path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """A dry run of make."""
    own = ("SCALE", "PROFILE", "CELL", "SEEDS", "PYTHON", "TORCH", "MAKEFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        ["make", "--dry-run", *words], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table_mian"], "target 'table_mian': unknown target: did you mean 'table_main'?"),
        (["all_tables", "reprot"], "target 'reprot': unknown target: did you mean 'report'?"),
        (["all_tables", "SCALE=smoek"], "SCALE=smoek: unknown scale: did you mean 'smoke'?"),
        (["report", "SCALE=smoek"], "SCALE=smoek: unknown scale: did you mean 'smoke'?"),
        (["all_tables", "SCALE="], "SCALE=: unknown scale: known: embedded, paper, released, smoke"),
        (["all_tables", "SCALE=smoke paper"], "SCALE=smoke paper: unknown scale: did you mean"),
        (
            ["all_tables", "SEEDS=0"],
            "SEEDS=0: write a number of training seeds from 1 to 10, such as SEEDS=3",
        ),
        (["all_tables", "SEEDS=three"], "SEEDS=three: write a number of training seeds"),
        (["all_tables", "SEEDS=3 4"], "SEEDS=3 4: write a number of training seeds"),
        (["all_tables", "PROFILE=slrum"], "PROFILE=slrum: unknown profile: did you mean 'slurm'?"),
        (["PYTHON=no-such-python", "SCALE=x", "help"], "known: embedded paper released smoke"),
        (
            ["results/smoke/tables/main.csv", "SCALE=smoke", "CORES=2"],
            "write .venv/bin/snakemake results/smoke/tables/main.csv --cores 2 --configfile "
            "workflow/scales/smoke.yaml",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_misspelt_word_is_one_line(folder, words, message):
    done = make(folder, *words)
    assert done.returncode != 0
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["all_tables"], "snakemake all_tables --cores"),
        (["table_main", "SCALE=smoke"], "--configfile workflow/scales/smoke.yaml"),
        (["all_tables", "SCALE=paper", "PROFILE=slurm"], "--profile workflow/profiles/slurm"),
        (["all_tables", "SEEDS=3"], "--config 'tables={main: {seeds: [0,1,2]}}'"),
        ([".venv/ready"], "workflow/environment.sh .venv"),
        ([], "make all_tables"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_known_words_are_taken(folder, words, command):
    done = make(folder, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert command in done.stdout


def test_a_scale_of_the_users_own_is_known(folder):
    (folder / "workflow").unlink()
    (folder / "workflow" / "scales").mkdir(parents=True)
    (folder / "workflow" / "environment.sh").touch()
    (folder / "workflow" / "scales" / "mine.yaml").write_text("study: mine\n")
    assert make(folder, "all_tables", "SCALE=mine").returncode == 0
