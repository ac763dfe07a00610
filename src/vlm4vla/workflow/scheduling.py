"""How often Snakemake chooses jobs."""

from __future__ import annotations

from typing import Any

DEFAULT = (100, 1.0)  # jobs in seconds: what Snakemake takes where nobody has written --max-jobs-per-timespan


def choose_when_a_job_ends(scheduler: Any) -> None:
    """Lift Snakemake's default limit of jobs a second; one that a user has written stays.

    `scheduler`: the run's, before it has chosen. With a limit, Snakemake 9.27 sets a timer after every
    choice, and each timer makes a choice: every job that ends adds one to those that go round for good. After
    a hundred jobs a third of a core did nothing else. Without a limit it chooses when a job ends.
    """
    limit = scheduler.workflow.scheduling_settings.max_jobs_per_timespan
    if limit is not None and (limit.max_jobs, float(limit.timespan)) == DEFAULT:
        scheduler.job_rate_limiter = None
