"""Workarounds for Snakemake: the nodes of a Slurm job."""

from __future__ import annotations

import os

import pytest

from vlm4vla.workflow.snakemake_workarounds import NODES, restore_slurm_nodes


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
