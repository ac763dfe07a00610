"""Workarounds for Snakemake: the nodes of a Slurm job, and work that it repeats for each job of a dry run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vlm4vla.workflow.snakemake_workarounds import NODES, restore_slurm_nodes

SNAKEFILE = """
from pathlib import Path
SETUP

COUNTS = {"functions": 0, "wildcards": set(), "commands": 0}
ALIVE = []

class Counted(str):
    def __format__(self, how):
        COUNTS["commands"] += 1
        return str(self)

def word(wildcards):
    ALIVE.append(wildcards)
    COUNTS["wildcards"].add(id(wildcards))
    return Counted(wildcards.number)

def again(wildcards):
    ALIVE.append(wildcards)
    COUNTS["wildcards"].add(id(wildcards))
    return wildcards.number

import inspect
signature = inspect.signature
def counting(function, **options):
    COUNTS["functions"] += getattr(function, "__name__", "") in ("word", "again")
    return signature(function, **options)
inspect.signature = counting

import atexit, json
def write_counts():
    Path("counts.json").write_text(json.dumps(COUNTS | {"wildcards": len(COUNTS["wildcards"])}))

atexit.register(write_counts)

rule all:
    input: [f"made/{number}" for number in range(20)]

rule one:
    output: "made/{number}"
    params: word=word, again=again
    shell: "echo {params.word} {params.again} > {output}"
"""
SETUP = """
from snakemake.jobs import Job
from vlm4vla.workflow.snakemake_workarounds import format_commands_once, remember_parameters, share_wildcards
remember_parameters(); share_wildcards(); format_commands_once(Job)
remember_parameters(); share_wildcards(); format_commands_once(Job)
"""
JOBS = 20


@pytest.fixture(scope="module")
def dry_runs(tmp_path_factory):
    """(what Snakemake repeated in a dry run of twenty jobs, its output): without and with the workarounds."""

    def run(name, setup):
        folder = tmp_path_factory.mktemp(name)
        (folder / "Snakefile").write_text(SNAKEFILE.replace("SETUP", setup))
        command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        commands = sorted(line for line in done.stdout.splitlines() if "echo" in line)
        return json.loads((folder / "counts.json").read_text()), commands

    return run("plain", ""), run("ours", SETUP)


def test_commands_of_a_dry_run_stay(dry_runs):
    (_, plain), (_, ours) = dry_runs
    assert plain == ours == sorted(f"Shell command: echo {n} {n} > made/{n}" for n in range(JOBS))


@pytest.mark.parametrize(("what", "most"), [("functions", 2), ("wildcards", JOBS + 1), ("commands", JOBS)])
def test_repeated_work_is_done_once(dry_runs, what, most):
    """If the second assertion fails, Snakemake has changed: remove the workaround for `what`."""
    (plain, _), (ours, _) = dry_runs
    assert 0 < ours[what] <= most
    assert plain[what] > ours[what]


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A substitute for squeue that knows job 41. The file that is returned records its arguments."""
    program, calls = tmp_path / "squeue", tmp_path / "calls"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{calls}\ncase "$*" in *--jobs=41*) echo "gpu[1-3,07]" ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(NODES, "")  # so that monkeypatch restores the variable after the test
    monkeypatch.delenv(NODES)
    return calls


@pytest.mark.parametrize(("job", "nodes"), [("41", "gpu[1-3,07]"), ("42", None)])
def test_missing_nodes_are_restored_from_squeue(squeue, monkeypatch, job, nodes):
    monkeypatch.setenv("SLURM_JOB_ID", job)
    restore_slurm_nodes()
    assert os.environ.get(NODES) == nodes and squeue.exists()


def test_squeue_is_not_called_if_the_nodes_are_known(squeue, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    restore_slurm_nodes()
    assert NODES not in os.environ
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv(NODES, "gpu1")
    restore_slurm_nodes()
    assert os.environ[NODES] == "gpu1" and not squeue.exists()
