"""The Makefile: a misspelt target, scale or profile, or a wrong number of seeds, ends with one line.

`make test` leaves out the tests marked `exhaustive`; `make test-all` and CI do not.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
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


SCALES = [
    "2026",
    "embedded",
    "embedded-2026",
    "libero",
    "libero-language",
    "libero-object",
    "libero-position",
    "libero-task",
    "metaworld",
    "paper",
    "real",
    "released",
    "smoke",
]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table_mian"], "target 'table_mian': unknown target: did you mean 'table_main'?"),
        (["all_tables", "reprot"], "target 'reprot': unknown target: did you mean 'report'?"),
        (["all_tables", "SCALE=smoek"], "SCALE=smoek: unknown scale: did you mean 'smoke'?"),
        (["report", "SCALE=smoek"], "SCALE=smoek: unknown scale: did you mean 'smoke'?"),
        (["all_tables", "SCALE="], f"SCALE=: unknown scale: known: {', '.join(SCALES)}"),
        (["all_tables", "SCALE=smoke paper"], "SCALE=smoke paper: unknown scale: did you mean"),
        (
            ["all_tables", "SEEDS=0"],
            "SEEDS=0: write a number of training seeds from 1 to 10, such as SEEDS=3",
        ),
        (["all_tables", "SEEDS=three"], "SEEDS=three: write a number of training seeds"),
        (["all_tables", "SEEDS=3 4"], "SEEDS=3 4: write a number of training seeds"),
        (["all_tables", "PROFILE=slrum"], "PROFILE=slrum: unknown profile: did you mean 'slurm'?"),
        (["PYTHON=no-such-python", "SCALE=x", "help"], f"known: {' '.join(SCALES)}"),
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
        (["cell", "SCALE=metaworld"], "envs/simulator.sh metaworld .venv-metaworld"),
        (["all_tables", "SCALE=real"], "assemble-backbone --layers 4"),
        (["all_tables", "SCALE=libero"], "libero-demonstrations --tasks 5 --size 96"),
        (
            ["all_tables", "SCALE=libero-object"],
            "--configfile workflow/scales/libero.yaml workflow/scales/libero-object.yaml",
        ),
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


def chosen_by(command: str, folder: Path) -> list[str]:
    """What this pytest command of a shell script would run of three tests."""
    (folder / "test_three.py").write_text(
        "import pytest\n"
        "def test_plain(): pass\n"
        "@pytest.mark.exhaustive\ndef test_more(): pass\n"
        "@pytest.mark.browser\ndef test_page(): pass\n"
    )
    program, *options = shlex.split(command.removeprefix("exec "))
    assert program.endswith("/pytest")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--collect-only", "-q", "--config-file"]
        + [str(REPOSITORY / "pyproject.toml"), "--rootdir", str(folder), str(folder), "-n", "0"],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split("::")[1] for line in done.stdout.splitlines() if "::" in line]


def test_only_make_test_leaves_out_exhaustive_tests(folder, tmp_path_factory):
    """Each command is run as it stands, on three tests."""
    commands = {
        goal: [line for line in make(folder, goal, "CORES=2").stdout.splitlines() if "bin/pytest" in line]
        for goal in ("test", "test-all")
    }
    commands["CI"] = [
        line for line in (REPOSITORY / ".ci" / "run").read_text().splitlines() if "bin/pytest" in line
    ]
    found = {}
    for name, lines in commands.items():
        [command] = lines
        found[name] = chosen_by(command, tmp_path_factory.mktemp(name))
    assert found == {
        "test": ["test_plain"],
        "test-all": ["test_plain", "test_more"],
        "CI": ["test_plain", "test_more"],
    }


def test_the_fuzz_tests_try_a_tenth_without_exhaustive_tests(tmp_path):
    code = "from hypothesis import settings\ndef test_x(): assert settings.default.max_examples == {}\n"
    (tmp_path / "conftest.py").write_text((REPOSITORY / "tests" / "fuzz" / "conftest.py").read_text())
    for options, examples in (([], 2000), (["-m", "not exhaustive and not browser"], 200)):
        (tmp_path / "test_x.py").write_text(code.format(examples))
        words = [*options, "--config-file", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(tmp_path)]
        done = subprocess.run([sys.executable, "-m", "pytest", *words, str(tmp_path)], capture_output=True)
        assert done.returncode == 0, done.stdout
