"""The lines of a run's log."""

from __future__ import annotations

import logging

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_study import LogHandler
from vlm4vla.core.progress import duration
from vlm4vla.workflow import run_log
from vlm4vla.workflow.run_log import RunLog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (61, "1 min"), (3540, "59 min"), (3900, "1 h 05 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_lines_show_progress_and_remaining_time(clock):
    log = RunLog(clock)
    assert log.planned({"vla": 3, "total": 3}) == "3 jobs: 3 vla"
    assert log.started(7, "vla", "vla: a") == "[0 of 3, 0 s] start vla: a"
    clock.now = 120.0
    assert log.finished(7) == "[1 of 3, 2 min] done  vla: a (2 min, about 4 min left)"


def test_remaining_time_is_divided_by_the_number_of_parallel_jobs(clock):
    log = RunLog(clock)
    log.planned({"vla": 4})
    for job in (1, 2):
        log.started(job, "vla", f"vla {job}")
    clock.now = 100.0
    log.finished(1)
    assert log.remaining_seconds() == pytest.approx((2 * 100 + 0) / 2)


def test_pace_of_one_rule_applies_to_rules_without_finished_jobs(clock):
    log = RunLog(clock)
    log.planned({"vla": 1, "rollout": 1})
    log.started(1, "vla", "vla")
    clock.now = 50.0  # half of the default of 100 seconds
    log.finished(1)
    assert log.remaining_seconds() == pytest.approx(20.0)


def test_expected_times_of_jobs_of_a_rule_may_differ(clock):
    """A long job that ends first does not increase the expected time of the short jobs of its rule."""
    log = RunLog(
        clock, {1: ("auxiliary", 300.0), 2: ("auxiliary", 50.0), 3: ("auxiliary", 50.0), 4: ("vla", None)}
    )
    log.planned({"auxiliary": 3, "vla": 1})
    log.started(1, "auxiliary", "FAST")
    clock.now = 360.0  # 20 % more than expected
    log.finished(1)
    assert log.remaining_seconds() == pytest.approx(1.2 * (50 + 50 + 100))
    log.started(2, "auxiliary", "robopoint")
    clock.now = 390.0
    assert log.remaining_seconds() == pytest.approx(1.2 * (50 + 50 + 100) - 30)


def test_line_of_a_failed_job_shows_the_end_of_its_log(clock, tmp_path):
    log = RunLog(clock)
    log.planned({"vla": 1})
    log.started(1, "vla", "vla: a")
    path = tmp_path / "a.log"
    path.write_text("step 1\nstep 2\n")
    text = log.failed(1, str(path))
    assert "FAILED vla: a" in text and "step 2" in text and str(path) in text


def test_user_error_is_shown_without_the_lines_before(clock, tmp_path):
    path = tmp_path / "a.log"
    path.write_text("step 1\nerror: disk: full: free some room\n")
    log = RunLog(clock)
    assert "step 1" not in log.failed(1, str(path))


@pytest.mark.parametrize("content", [None, "", "step 1\nstep"])
def test_a_log_on_a_full_disk_lacks_the_last_line(clock, tmp_path, monkeypatch, content):
    path = tmp_path / "a.log"
    if content is not None:
        path.write_text(content)
    assert "No space" not in RunLog(clock).failed(1, str(path))
    monkeypatch.setattr(run_log, "is_full", lambda folder: folder == tmp_path)
    text = RunLog(clock).failed(1, str(path))
    assert f"error: {path}: No space left on device" in text


def record(level=logging.INFO, text="", **fields) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, text, None, None)
    made.__dict__.update(fields)
    return made


def test_handler_prints_lines_for_snakemakes_records():
    handler = LogHandler(None, None)
    stats = {"rollout": 1, "total": 1}
    assert handler.line(record(event=LogEvent.RUN_INFO, stats=stats)) == "1 jobs: 1 rollout"
    info = {"event": LogEvent.JOB_INFO, "jobid": 2, "rule_name": "rollout", "rule_msg": "rollout: a"}
    assert "start rollout: a" in handler.line(record(**info))
    assert "[1 of 1" in handler.line(record(event=LogEvent.JOB_FINISHED, job_id=2))
    assert handler.line(record(text="Select jobs to execute...")) is None
    assert handler.line(record(logging.ERROR, "broken")) == "broken"
