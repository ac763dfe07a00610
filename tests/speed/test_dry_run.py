"""speed/dry_run.py: two builds side by side, and the comparison of what they plan."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAN = """Building DAG of jobs...
  Date: 2026-01-01 10:00:00
[Thu Jan  1 10:00:00 2026]
Job 3: vla: a
Reason: Missing output files: a/x; Input files updated by another job: b/x, c/x
Shell command: exec vlm4vla vla --settings '{"a": 1}'
"""


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "speed"))


def test_order_numbers_and_clock_do_not_count():
    import dry_run

    other = PLAN.replace("Job 3", "Job 12").replace("b/x, c/x", "c/x, b/x").replace("10:00:00", "11:00:00")
    assert other != PLAN
    assert dry_run.planned(other) == dry_run.planned(PLAN)


@pytest.mark.parametrize("change", [("vla: a", "vla: b"), ("c/x", "d/x"), ('"a": 1', '"a": 2')])
def test_a_changed_plan_counts(change):
    import dry_run

    assert dry_run.planned(PLAN.replace(*change)) != dry_run.planned(PLAN)


def test_only_settings_differ():
    import dry_run

    plan, other = dry_run.planned(PLAN), dry_run.planned(PLAN.replace('"a": 1', '"a": 2'))
    assert dry_run.without_commands(plan) == dry_run.without_commands(other)


def test_two_builds_side_by_side():
    command = [sys.executable, "speed/dry_run.py", "--before", str(ROOT), "--repeats", "1", "--seeds", "2"]
    command += ["--embedded", "--target", "results/embedded/cells/kosmos-2/none/full/bridge.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # questions, backbone, score, demonstrations, two trainings, two rollouts; the table is the target
    assert report["jobs"] == 8
    assert report["same_jobs"] and report["same_jobs_and_commands"]
    assert 0 < report["ratio"] < 10
