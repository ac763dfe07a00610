"""After a SIGKILL of Snakemake, the next run resumes without further options."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize("stage", ["backbone", pytest.param("table", marks=pytest.mark.exhaustive)])
def test_killed_run_resumes(project, stage):
    project.start_and_kill(stage)
    before = (project.folder / "calls.txt").read_text().split()
    assert list((project.folder / ".snakemake" / "locks").glob("*.lock"))

    done = project.make()

    assert "The last run was killed: its lock is removed" in done.stderr
    after = (project.folder / "calls.txt").read_text().split()[len(before) :]
    finished = before[:-1]  # the last call was killed
    assert after.count("questions") == 0 and after.count("demonstrations") == 3 - finished.count(
        "demonstrations"
    )
    assert before.count(stage) + after.count(stage) == {"backbone": 4, "table": 7}[stage] + 1
    assert project.dry_run() == set()


def test_lock_of_a_running_snakemake_stays(project):
    run = project.start("backbone")
    try:
        done = project.snakemake("--cores", "1")
        assert done.returncode != 0
        assert "results/smoke: another run is writing it (process " in done.stderr
    finally:
        project.kill(run)
