"""What a rule has made stays until its successor is whole, in a real Snakemake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlm4vla.workflow import kept_outputs

MORE = pytest.mark.exhaustive
# The second rule fails for the value `two` when it has written half of its output. `end` is its last command.
SNAKEFILE = """
from snakemake.jobs import Job
from vlm4vla.workflow import kept_outputs
kept_outputs.put_back_all()
kept_outputs.install(Job)

rule all:
    input: "out/b.txt"

rule make:
    output: "out/a.txt", "out/b.txt"
    params: value=config["value"]
    shell: "echo half > out/a.txt; test {params.value} != two"
           " && echo {params.value} > out/a.txt && echo {params.value} > out/b.txt && {config[end]}"
"""


def snakemake(folder: Path, value: str, *options: str, end: str = "true") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--latency-wait", "1", *options]
    command += ["--config", f"value={value}", f"end={end}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    (folder / "Snakefile").write_text(SNAKEFILE)
    first = snakemake(folder, "one")
    assert first.returncode == 0, first.stderr
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text().strip() for path in sorted((folder / "out").iterdir()) if path.is_file()
    }


def test_a_failed_rerun_restores_files_times_and_records(project):
    times = {path.name: path.stat().st_mtime_ns for path in (project / "out").iterdir()}
    failed = snakemake(project, "two")
    assert failed.returncode != 0
    assert contents(project) == {"a.txt": "one", "b.txt": "one"}  # and no hidden file
    assert {path.name: path.stat().st_mtime_ns for path in (project / "out").iterdir()} == times
    assert not list((project / kept_outputs.LISTS).glob("*"))
    # The files are those of `one`: with `two` the job must run again, with `one` there is nothing to do.
    assert "Nothing to be done" not in snakemake(project, "two", "--dry-run").stdout
    assert "Nothing to be done" in snakemake(project, "one", "--dry-run").stdout


def test_a_rerun_that_works_replaces_them(project):
    assert snakemake(project, "three").returncode == 0
    assert contents(project) == {"a.txt": "three", "b.txt": "three"}
    assert snakemake(project, "one").returncode == 0


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("rm out/a.txt", id="one missing", marks=MORE),
        pytest.param("rm out/a.txt out/b.txt", id="all missing", marks=MORE),
        pytest.param("kill -9 $$", id="killed"),
        pytest.param("rm out/a.txt && mkdir out/a.txt && false", id="a folder in its place", marks=MORE),
        pytest.param("ln -sf nowhere out/a.txt && false", id="a dead link", marks=MORE),
    ],
)
def test_a_rerun_that_fails_at_its_end_restores_files_and_records(project, end):
    done = snakemake(project, "one")
    assert done.returncode == 0, done.stderr
    failed = snakemake(project, "four", end=end)
    assert failed.returncode != 0 and "Traceback" not in failed.stderr
    assert contents(project) == {"a.txt": "one", "b.txt": "one"}
    assert "Nothing to be done" in snakemake(project, "one", "--dry-run").stdout


def test_a_killed_run_is_undone_by_the_next(tmp_path):
    first, second = tmp_path / "out" / "a.txt", tmp_path / "out" / "b.txt"
    first.parent.mkdir()
    first.write_text("old")
    second.write_text("old")
    lists = tmp_path / "lists"
    assert kept_outputs.set_aside([first, second], lists) == [first, second]
    assert not first.exists()
    first.write_text("half")  # the killed job's
    assert kept_outputs.put_back_all(lists) == [first, second]
    assert first.read_text() == second.read_text() == "old"
    assert sorted(os.listdir(first.parent)) == ["a.txt", "b.txt"] and not list(lists.glob("*"))


def test_a_first_run_has_nothing_to_put_back(tmp_path):
    path = tmp_path / "new.txt"
    assert kept_outputs.set_aside([path], tmp_path / "lists") == []
    path.write_text("new")
    kept_outputs.forget([path], tmp_path / "lists")
    assert kept_outputs.put_back([path], tmp_path / "lists") == [] and path.read_text() == "new"


@pytest.mark.parametrize("note", ["", "{", "[1]", '{"a": 1}'])
def test_a_damaged_list_is_dropped(tmp_path, note):
    (tmp_path / "x.json").write_text(note)
    assert kept_outputs.put_back_all(tmp_path) == [] and not (tmp_path / "x.json").exists()
