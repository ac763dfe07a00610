"""The checks at the start of the Snakefile: a run checks everything, and a job of a run checks nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fast_yaml import load_yaml

from vlm4vla.core.errors import UserError
from vlm4vla.workflow import snakefile as workflow

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def raw(tmp_path, monkeypatch) -> dict:
    """A valid configuration; the working folder has a lock whose process does not run on this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").write_text("")
    return load_yaml(CONFIG.read_text()) | {"minimum_free_gb": 0}


def call(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["bin/snakemake", *arguments])


def test_a_run_removes_a_stale_lock_and_records_its_machine(raw, tmp_path, monkeypatch, capsys):
    call(monkeypatch, "--cores", "1", "all_tables")
    assert workflow.begin(raw).config.study == "embedded"
    assert not list((tmp_path / ".snakemake" / "locks").iterdir())
    assert (tmp_path / ".snakemake" / "machine").exists()
    assert "its lock is removed" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["remote", "subprocess"])
def test_a_job_keeps_the_lock_of_its_run(raw, tmp_path, monkeypatch, mode):
    call(monkeypatch, "--cores", "1", "--mode", mode)
    raw["minimum_free_gb"] = 1e9  # on the machine where the run started
    assert workflow.begin(raw).config.study == "embedded"
    assert list((tmp_path / ".snakemake" / "locks").iterdir())
    assert not (tmp_path / ".snakemake" / "machine").exists()


def test_an_error_is_printed_once(raw, monkeypatch, capsys):
    class EndedError(Exception):
        pass

    def end(status: int) -> None:
        raise EndedError(status)

    monkeypatch.setattr(os, "_exit", end)
    call(monkeypatch, "--cores", "1", "table_mian")
    with pytest.raises(EndedError, match="1"):
        workflow.begin(raw)
    printed = capsys.readouterr().err.splitlines()
    assert printed == ["error: target 'table_mian': unknown target: did you mean 'table_main'?"]
    with pytest.raises(UserError):
        workflow.open_study(raw, ["table_mian"])


@pytest.mark.parametrize(
    ("words", "offered"),
    [((), None), (("--resources", "gpu=2"), 2), (("--resources", "mem_mb=5"), None)],
)
def test_offered_gpus(monkeypatch, words, offered):
    call(monkeypatch, "--cores", "1", *words)
    assert workflow.offered_gpus(workflow.command_line()) == offered


@pytest.mark.parametrize(
    ("words", "local"),
    [((), True), (("--executor", "slurm"), False), (("--dry-run",), True)],
)
def test_jobs_run_on_this_machine_without_an_executor(monkeypatch, words, local):
    if "slurm" in words:
        pytest.importorskip("snakemake_executor_plugin_slurm")
    call(monkeypatch, "--cores", "1", *words)
    assert workflow.is_local(workflow.command_line()) == local
