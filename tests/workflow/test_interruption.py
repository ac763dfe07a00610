"""Ctrl-C during a run ends with one line that says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.workflow
LINE = (
    "interrupted: running jobs are stopped. Run the same command again to go on: what is finished stays, and "
    "trainings go on from their last checkpoint."
)
OPTIONS = ("--cores", "1", "--rerun-incomplete", "--keep-going", "--logger", "study")


def start(project, **environment: str) -> subprocess.Popen:
    """Start the workflow in a process group of its own, which a terminal's Ctrl-C would reach as a whole."""
    return subprocess.Popen(
        project.command(*OPTIONS),
        cwd=project.folder,
        env=project.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def interrupt(run: subprocess.Popen) -> list[str]:
    """The lines that the run has printed after Ctrl-C."""
    os.killpg(run.pid, signal.SIGINT)
    return run.communicate(timeout=120)[0].splitlines()


def test_ctrl_c_during_a_job_is_one_line_and_the_next_run_goes_on(project):
    run, marker = start(project, PAUSE="backbone"), project.folder / "paused.pid"
    limit = time.monotonic() + 120
    while not marker.exists() or not marker.read_text():
        assert run.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    *before, last = interrupt(run)
    assert run.returncode != 0 and last == LINE
    assert not any("FAILED" in line or "Traceback" in line for line in before)
    with pytest.raises(ProcessLookupError):  # the job has ended, too
        os.kill(int(marker.read_text()), 0)
    calls = (project.folder / "calls.txt").read_text().split()

    project.make("--logger", "study")

    again = (project.folder / "calls.txt").read_text().split()[len(calls) :]
    assert "questions" in calls and "questions" not in again
    assert again.count("backbone") == 4 - calls[:-1].count("backbone")


def test_ctrl_c_before_the_first_job_is_one_line(project):
    """Snakemake itself would print a traceback. The Snakefile waits, so that the moment is known."""
    snakefile = project.folder / "Snakefile"
    wait = 'print("waiting", flush=True); import time; time.sleep(60)\n'
    snakefile.write_text(wait + snakefile.read_text())
    run = start(project)
    for line in run.stdout:
        if line == "waiting\n":
            break
    assert interrupt(run) == [LINE]
    assert run.returncode == -signal.SIGINT
