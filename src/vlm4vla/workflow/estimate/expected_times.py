"""How long the jobs of a run should take, from measured rates: what its log reckons the time left with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vlm4vla.core.errors import UserError
from vlm4vla.study.study import Study
from vlm4vla.workflow.estimate.rates import FILE, Rates, read_rates
from vlm4vla.workflow.estimate.units import backbone_of, units_of
from vlm4vla.workflow.jobs import Job, Maker
from vlm4vla.workflow.run_log import EXPECTED


def expect_jobs(study: Study, dag: Any) -> None:
    """Tell the run's log of the jobs of Snakemake's `dag` that are to run, before the first one does."""
    maker, rates = Maker(study), read_rates(FILE)
    for job in dag.needrun_jobs():
        EXPECTED[dag.jobid(job)] = (job.rule.name, seconds(maker, rates, map(str, job.output)))


def seconds(maker: Maker, rates: Rates, outputs: Iterable[str]) -> float | None:
    """Seconds of the job that makes `outputs` on the machine of `rates`; None where nothing was measured."""
    for path in outputs:
        try:
            job = maker.job(path)
        except UserError:  # a target without files, a log
            continue
        return _seconds(job, maker.study, rates)
    return None


def _seconds(job: Job, study: Study, rates: Rates) -> float | None:
    name = backbone_of(job, study.config)
    if name is not None and study.config.backbones[name].tiny is None:
        return None  # the rates of tiny backbones say nothing of it
    units = units_of(job, study.config)
    found = rates.find(job.stage, units.kind)
    return found and found.rate.start + found.rate.seconds * units.count
