"""An estimate: rows by stage and source, their sums, the time by the clock, what was taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm4vla.workflow.estimate import assumptions as assumed
from vlm4vla.workflow.estimate.schedule import Schedule, schedule
from vlm4vla.workflow.estimate.units import backbone_of
from vlm4vla.workflow.estimate.work import Estimator, Work
from vlm4vla.workflow.jobs import Job


@dataclass
class Row:
    """Jobs of one stage whose cost has one source; `made` of them are there already and cost nothing."""

    stage: str
    source: str
    jobs: int = 0
    made: int = 0
    gpu_hours: float = 0.0
    core_hours: float = 0.0
    gigabytes: float = 0.0

    def add(self, work: Work, made: bool) -> None:
        """Count one more job."""
        self.jobs += 1
        if made:
            self.made += 1
            return
        hours = work.seconds / 3600
        self.gpu_hours += hours * work.gpus
        # beside GPUs, cores feed them and are not counted
        self.core_hours += 0.0 if work.gpus else hours * work.cores
        self.gigabytes += work.kept / 1e9


@dataclass
class Totals:
    """`rows` in the study's order; `schedule` of what is not made yet; `assumes`: sentences; `notes`: what
    may not work as asked."""

    rows: list[Row]
    schedule: Schedule
    assumes: list[str]
    notes: list[str] = field(default_factory=list)

    def sum(self, name: str) -> float:
        """The sum of a column."""
        return sum(getattr(row, name) for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        names = ("jobs", "made", "gpu_hours", "core_hours", "gigabytes")
        return {
            "stages": [vars(row) for row in self.rows],
            "total": {name: self.sum(name) for name in names},
            "wall_hours": self.schedule.wall / 3600,
            "longest_chain_hours": self.schedule.critical / 3600,
            "peak_gigabytes": self.schedule.peak / 1e9,
            "assumed": self.assumes,
            "notes": self.notes,
        }


MAKING = ("questions", "backbone", "auxiliary_data", "demonstrations", "auxiliary", "capability")
ORDER = (*MAKING, "vla", "rollout", "cell", "table", "published", "report")


def estimate(jobs: Mapping[str, Job], estimator: Estimator) -> Totals:
    """Cost of `jobs` (`jobs.plan`) on the estimator's cluster; artefacts that exist cost nothing."""
    works = {output: estimator.work(job) for output, job in jobs.items()}
    made = {output for output in jobs if Path(output).exists()}
    rows: dict[tuple[str, str], Row] = {}
    for output, job in jobs.items():
        work = works[output]
        rows.setdefault((job.stage, work.source), Row(job.stage, work.source)).add(work, output in made)
    left = {output: job for output, job in jobs.items() if output not in made}
    planned = schedule(left, works, estimator.cluster)
    keys = dict.fromkeys(key for output in left for key in works[output].assumes)
    told = [assumed.WORDS[key].format(mfu=estimator.mfu) for key in assumed.WORDS if key in keys]
    ordered = sorted(rows.values(), key=lambda row: ORDER.index(row.stage))
    return Totals(ordered, planned, told, _notes(left, estimator))


def _notes(jobs: Mapping[str, Job], estimator: Estimator) -> list[str]:
    """Trainings whose weights and optimiser do not fit the GPUs, however they are divided."""
    cluster = estimator.cluster
    notes: dict[str, str] = {}
    for job in jobs.values():
        name = backbone_of(job, estimator.config)
        if job.stage not in ("vla", "auxiliary") or name is None or not job.settings.get("training"):
            continue
        if estimator.config.backbones[name].tiny is not None:
            continue
        if cluster.gpu is None:
            notes[""] = "released checkpoints train on CPU cores here: state --gpus and --gpu-model"
            continue
        needed = assumed.TRAINED_BYTES * estimator.model(name).parameters
        gpus = min(cluster.gpus_a_job, cluster.gpus)
        if needed > gpus * cluster.gpu.memory:
            least = int(-(-needed // cluster.gpu.memory))
            notes[name] = (
                f"{name}: weights and optimiser take {needed / 1e9:.0f} GB, {gpus} {cluster.model.upper()} "
                f"have {gpus * cluster.gpu.memory / 1e9:.0f}: {least} or more are needed, and room to work in"
            )
    return list(notes.values())
