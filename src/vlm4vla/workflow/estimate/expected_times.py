"""The expected times of the jobs of a run, from measured rates, for the remaining time in the run's log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.rates import FILE, Rates, read_rates
from vlm4vla.workflow.estimate.units import backbone_of, units_of
from vlm4vla.workflow.jobs import Job, JobIndex
from vlm4vla.workflow.run_log import EXPECTED


def expect_jobs(study: Study, dag: Any) -> None:
    """Give the run's log the expected times of all jobs of Snakemake's `dag` that will run."""
    index, rates = JobIndex(study), read_rates(FILE)
    for job in dag.needrun_jobs():
        EXPECTED[dag.jobid(job)] = (job.rule.name, expected_seconds(index, rates, map(str, job.output)))


def expected_seconds(index: JobIndex, rates: Rates, outputs: Iterable[str]) -> float | None:
    """The seconds of the job that makes `outputs` on the machine of `rates`; None if they are unknown."""
    for path in outputs:
        try:
            job = index.job(path)
        except UserError:  # a log, or another file that is not an artefact
            continue
        return _seconds_of_job(job, index.study, rates)
    return None


def _seconds_of_job(job: Job, study: Study, rates: Rates) -> float | None:
    name = backbone_of(job, study.config)
    if name is not None and study.config.backbones[name].tiny is None:
        return None  # the rates are of tiny backbones
    units = units_of(job, study.config)
    found = rates.find(job.stage, units.kind)
    return found and found.rate.start + found.rate.seconds * units.count
