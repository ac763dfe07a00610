"""Workarounds for Snakemake: stale locks, and the nodes of a Slurm job."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from vlm4vla.workflow.snakemake_workarounds import (
    LOCK_OWNER,
    NODES,
    record_lock_owner,
    remove_stale_lock,
    restore_slurm_nodes,
)


@pytest.fixture
def lock(tmp_path) -> Path:
    path = tmp_path / ".snakemake" / "locks" / "0.input.lock"
    path.parent.mkdir(parents=True)
    path.write_text("")
    return path


def test_stale_lock_is_removed_and_the_lock_of_a_running_snakemake_stays(tmp_path, lock):
    script = tmp_path / "snakemake"
    script.write_text("import time; print('up', flush=True); time.sleep(60)")
    named = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        named.stdout.readline()  # when Popen returns, the kernel may not show the command line yet
        assert not remove_stale_lock(tmp_path) and lock.exists()
    finally:
        named.kill()
        named.communicate()
    assert remove_stale_lock(tmp_path)
    assert not lock.exists() and lock.parent.is_dir()


def test_lock_of_another_machine_stays(tmp_path, lock):
    (tmp_path / LOCK_OWNER).write_text("login-2\n")
    assert not remove_stale_lock(tmp_path)
    record_lock_owner(tmp_path)  # login-2 still has the lock
    assert (tmp_path / LOCK_OWNER).read_text() == "login-2\n"
    lock.unlink()
    record_lock_owner(tmp_path)
    assert (tmp_path / LOCK_OWNER).read_text() == f"{platform.node()}\n"
    lock.write_text("")
    assert remove_stale_lock(tmp_path)


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
