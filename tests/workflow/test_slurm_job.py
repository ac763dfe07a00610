"""A job learns the names of its nodes again."""

from __future__ import annotations

import os

import pytest

from vlm4vla.workflow.slurm_job import NODES, restore_nodes


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A stand-in for squeue that knows job 41; it writes its arguments to the file that is returned."""
    program, calls = tmp_path / "squeue", tmp_path / "calls"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{calls}\ncase "$*" in *--jobs=41*) echo "gpu[1-3,07]" ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(NODES, "")  # so that it is as it was afterwards
    monkeypatch.delenv(NODES)
    return calls


@pytest.mark.parametrize(("job", "nodes"), [("41", "gpu[1-3,07]"), ("42", None)])
def test_slurm_is_asked(squeue, monkeypatch, job, nodes):
    monkeypatch.setenv("SLURM_JOB_ID", job)
    restore_nodes()
    assert os.environ.get(NODES) == nodes and squeue.exists()


def test_what_is_known_is_not_asked(squeue, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    restore_nodes()
    assert NODES not in os.environ
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv(NODES, "gpu1")
    restore_nodes()
    assert os.environ[NODES] == "gpu1" and not squeue.exists()
